FROM condaforge/miniforge3:latest
LABEL io.github.snakemake.containerized="true"
LABEL io.github.snakemake.conda_env_hash="6c100defc4e4a09bcc94adcc64309a13252327d1186f1f6cc4036f195194cef2"
# Conda environment:
#   source: envs/analysis.yaml
#   prefix: /conda-envs/adb3681ffceb8556d9942089b60683c1
#   # Searches, rankings, tables and figures: everything that needs no torch
#   channels: [conda-forge, nodefaults]
#   dependencies:
#     - python =3.11
#     - pip
#     - pip:
#         - bokeh ==3.9.2
#         - jinja2 ==3.1.6
#         - matplotlib ==3.11.2
#         - numpy ==2.4.6
#         - pandas ==3.1.1
#         - pyyaml ==6.0.3
#         - scipy ==1.17.1
#         - tabulate ==0.10.0
RUN mkdir -p /conda-envs/adb3681ffceb8556d9942089b60683c1
COPY envs/analysis.yaml /conda-envs/adb3681ffceb8556d9942089b60683c1/environment.yaml
# Conda environment:
#   source: envs/rlnas.yaml
#   prefix: /conda-envs/8479c0653eeb69dea1c219aecf9b96ba
#   # Everything that trains or reads images
#   channels: [conda-forge, nodefaults]
#   dependencies:
#     - python =3.11
#     - cxx-compiler =1.11 # the CPU kernels are compiled on first use
#     - pip
#     - pip:
#         - filelock ==4.2.12
#         - matplotlib ==3.11.2
#         - nas-bench-201 ==2.1
#         - numpy ==2.4.6
#         - onnx ==1.23.2
#         - onnxruntime ==1.32.0
#         - onnxscript ==0.7.2
#         - pandas ==3.1.1
#         - pillow ==13.0.0
#         - pycocotools ==2.0.11
#         - pyyaml ==6.0.3
#         - safetensors ==0.8.0
#         - scikit-learn ==1.9.1
#         - scipy ==1.17.1
#         - torch ==2.14.1
#         - torchmetrics ==1.9.0
#         - torchvision ==0.29.1
#         - tqdm ==4.70.1
RUN mkdir -p /conda-envs/8479c0653eeb69dea1c219aecf9b96ba
COPY envs/rlnas.yaml /conda-envs/8479c0653eeb69dea1c219aecf9b96ba/environment.yaml

RUN conda env create --prefix /conda-envs/adb3681ffceb8556d9942089b60683c1 --file /conda-envs/adb3681ffceb8556d9942089b60683c1/environment.yaml && \
    conda env create --prefix /conda-envs/8479c0653eeb69dea1c219aecf9b96ba --file /conda-envs/8479c0653eeb69dea1c219aecf9b96ba/environment.yaml && \
    conda clean --all -y
