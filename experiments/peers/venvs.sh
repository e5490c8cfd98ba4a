# The peers' virtual environments below "$peers", from PyPI. Sourced by the scripts beside it.

imports() { "$peers/$1/bin/python" -c "import $1" 2>/dev/null; }

install_torch() {
    if imports torch; then return; fi
    python3 -m venv "$peers/torch"
    # Without the GPU libraries that PyTorch's wheel asks for.
    "$peers/torch/bin/pip" install --quiet --no-deps torch numpy typing_extensions sympy networkx \
        jinja2 fsspec filelock mpmath MarkupSafe
    # PyPI's wheels for Linux on x86-64 load them on import, even where there is no GPU.
    if ! imports torch; then "$peers/torch/bin/pip" install --quiet torch; fi
}

install_mxnet() {
    if imports mxnet; then return; fi
    python3 -m venv "$peers/mxnet"
    "$peers/mxnet/bin/pip" install --quiet mxnet==1.9.1 numpy==1.23.5 requests
}
