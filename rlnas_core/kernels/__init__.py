"""The CPU engine: NAS-Bench-201's supernets, run on a CPU by C++ kernels of this project.

Why it exists: a training step of a small supernet is hundreds of small operations. On a CPU, torch takes
two to three times as long for them as kernels made for such shapes.

What it runs: the forward and backward pass of `networks.nas_bench_201.Supernet` in float32 in one process,
and the weight updates of SGD. `engine.accelerate` wraps a supernet from outside. It calls the network's torch
code with a placeholder for the images, which records every operation (`tape`). The compiled kernels (`build`,
`kernels.cpp`) then run the recorded operations.

What happens without it: the same network runs on torch, with results that are equal up to rounding. This is
so without a C++ compiler, for widths that are no multiple of 8, on a GPU, in several processes, and with the
settings `kernels: torch`, `norm_batch` or a `precision` other than float32. Nothing in `networks` depends on
the engine.
"""
