# Server on a Jetson Orin or Thor with JetPack 7, built on it; CUDA and TensorRT are the image's:
#   docker build -f docker/jetson.Dockerfile -t mms-engine:jetson .
#   docker run --runtime nvidia -p 127.0.0.1:8000:8000 -v BUNDLES:/var/cache/mms/mms-engine/bundles:ro mms-engine:jetson
# Not built where it was written, which has neither a Docker daemon nor a Jetson; see cpu.Dockerfile.
# Choose the release of the image by that of JetPack: plans run only in the TensorRT that built them.

ARG BASE=nvcr.io/nvidia/tensorrt:25.10-py3
FROM ${BASE}
ENV PATH=/opt/mms/bin:$PATH XDG_CACHE_HOME=/var/cache/mms
WORKDIR /source
COPY . .
RUN python3 -m venv --system-site-packages /opt/mms \
    && /opt/mms/bin/pip install --no-cache-dir -c constraints.txt '.[cpu,serve,align,tts,otel]' cuda-bindings \
    && useradd --uid 10001 --create-home mms \
    && mkdir -p /var/cache/mms/mms-engine/bundles && chown -R mms /var/cache/mms
WORKDIR /
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=300s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready')"]
# The image's own entry point prints its licence first.
ENTRYPOINT ["mms"]
CMD ["serve", "--host", "0.0.0.0", "--device", "cuda"]
