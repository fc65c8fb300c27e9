# Server on a data-centre GPU, with ONNX Runtime for CUDA, TensorRT, and the CUDA kernels:
#   docker build -f docker/cuda.Dockerfile -t mms-engine:cuda .
# Not built where it was written, which has neither a Docker daemon nor a GPU; see cpu.Dockerfile.

ARG CUDA=13.0.1
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# nvcc is on the path: the CUDA kernels are compiled.
RUN python3 -m venv /opt/mms \
    && /opt/mms/bin/pip install --no-cache-dir -c constraints.txt '.[gpu,serve,align,tts,otel]'

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04
ENV PATH=/opt/mms/bin:$PATH XDG_CACHE_HOME=/var/cache/mms
RUN apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home mms \
    && mkdir -p /var/cache/mms/mms-engine/bundles && chown -R mms /var/cache/mms
COPY --from=build /opt/mms /opt/mms
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=300s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready')"]
ENTRYPOINT ["mms"]
CMD ["serve", "--host", "0.0.0.0", "--device", "cuda"]
