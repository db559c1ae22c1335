# docker build --target cpu --tag spoton:cpu .       ONNX Runtime on the processor
# docker build --target cuda --tag spoton:cuda .     ONNX Runtime with CUDA 12, on NVIDIA's runtime image
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE faust_app.py ./
COPY spoton/ spoton/
COPY agents/ agents/
COPY tables/ tables/
COPY api/ api/
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM ${PYTHON_IMAGE} AS cpu-packages
COPY --from=wheel /wheel/ /wheel/
RUN python3 -m venv /opt/spoton && /opt/spoton/bin/pip install --no-cache-dir /wheel/*.whl

# A virtual environment belongs to the Python that made it, so this one is made on the image that it runs on.
FROM ${CUDA_IMAGE} AS cuda-python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM cuda-python AS cuda-packages
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
COPY --from=wheel /wheel/ /wheel/
# Both distributions install the same module, so one has to go first. From 1.27 on the wheel wants CUDA 13.
RUN python3 -m venv /opt/spoton \
    && /opt/spoton/bin/pip install --no-cache-dir /wheel/*.whl \
    && /opt/spoton/bin/pip uninstall --yes onnxruntime \
    && /opt/spoton/bin/pip install --no-cache-dir "onnxruntime-gpu>=1.20,<1.27"

FROM cuda-python AS cuda
COPY --from=cuda-packages /opt/spoton/ /opt/spoton/
COPY --chmod=755 deploy/healthy.py /usr/local/bin/spoton-healthy
ENV PATH=/opt/spoton/bin:$PATH HOME=/var/lib/spoton PYTHONUNBUFFERED=1 SPOTON_DATA=/var/lib/spoton
RUN groupadd --gid 10001 spoton \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/spoton --create-home --shell /usr/sbin/nologin spoton
USER 10001:10001
WORKDIR /var/lib/spoton
VOLUME /var/lib/spoton
EXPOSE 8321
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["spoton-healthy"]
ENTRYPOINT ["spoton"]
CMD ["--help"]

FROM ${PYTHON_IMAGE} AS cpu
COPY --from=cpu-packages /opt/spoton/ /opt/spoton/
COPY --chmod=755 deploy/healthy.py /usr/local/bin/spoton-healthy
ENV PATH=/opt/spoton/bin:$PATH HOME=/var/lib/spoton PYTHONUNBUFFERED=1 SPOTON_DATA=/var/lib/spoton
RUN groupadd --gid 10001 spoton \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/spoton --create-home --shell /usr/sbin/nologin spoton
USER 10001:10001
WORKDIR /var/lib/spoton
VOLUME /var/lib/spoton
EXPOSE 8321
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["spoton-healthy"]
ENTRYPOINT ["spoton"]
CMD ["--help"]
