# The first command, as any user: docker build -t jaxgan . && docker run --rm -v "$PWD/runs:/workspace/runs" --user "$(id -u):$(id -g)" jaxgan
# For NVIDIA cards: docker build --build-arg EXTRA=cuda13 -t jaxgan . and docker run --gpus all ...
FROM python:3.13-slim

ARG EXTRA=dicom
WORKDIR /opt/jaxgan
COPY pyproject.toml README.md LICENSE ./
COPY jaxgan jaxgan
COPY launch launch
COPY configs configs
# The least versions stand in pyproject.toml.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[${EXTRA}]"

# Any user id may write here: prepared data and compiled programs lie in HOME.
ENV HOME=/tmp/home MPLCONFIGDIR=/tmp/home/matplotlib
RUN mkdir -p /workspace/runs "$HOME" && chmod 1777 /workspace /workspace/runs "$HOME"
WORKDIR /workspace
ENTRYPOINT ["jaxgan"]
CMD ["train-dcgan", "--class=pneumonia", "--config=configs/dcgan.py:quick"]
