"""Models of Triton's Python backend, which host the engine: recordings, and live streams.

Their modules run inside Triton, whose Python backend provides `triton_python_backend_utils`.
"""
