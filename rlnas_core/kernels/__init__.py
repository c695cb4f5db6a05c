"""The CPU engine: NAS-Bench-201's supernets, run on a CPU by C++ kernels of this project.

Why it exists: a step of a small supernet is hundreds of small operations, and on a CPU torch takes about
twice as long for them as kernels that are made for such shapes. What it runs: the forward and backward pass
of `networks.nas_bench_201.Supernet` in float32 in one process, and the weights' moves of SGD.
`engine.accelerate` wraps a supernet from outside: the network's torch code is called on a stand-in for the
images, which records what is done to it (`tape`), and the compiled kernels (`build`, `kernels.cpp`) run the
record. What happens without it: nothing in `networks` knows of it; where there is no C++ compiler, a width is
no multiple of 8, or a run is on a GPU or in several processes, the same network runs on torch, with results
that are equal up to rounding.
"""
