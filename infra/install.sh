#!/bin/sh
# Creates the virtual environment of all make targets: one install command, exact versions from constraints.txt.
#   infra/install.sh VENV      VENV/.installed is touched only after everything is installed.
# Installs with uv if the package index has it, else with pip. Both follow pip's own configuration (find-links,
# index-url, extra-index-url), so that a CPU build of torch is used where one is configured.
set -eu
venv=$1
stamp=$venv/.installed

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: focus-ray needs Python 3.11 or newer with its venv module; install it (on Debian: apt install python3" \
        "python3-venv) or name it: make install PYTHON=/path/to/python3" >&2
    exit 2
}

# Prints pip's value of an option: from the environment, else from pip's configuration files.
pip_setting() {
    from_environment=$(printenv "PIP_$(echo "$1" | tr 'a-z-' 'A-Z_')" || true)
    if [ -n "$from_environment" ]; then
        echo "$from_environment"
    else
        "$venv/bin/python" -m pip config get "install.$1" 2>/dev/null ||
            "$venv/bin/python" -m pip config get "global.$1" 2>/dev/null || true
    fi
}

export_pip_settings() {
    links=$(pip_setting find-links | tr -s ' \n' ',,' | sed 's/^,//; s/,$//')
    index=$(pip_setting index-url)
    more=$(pip_setting extra-index-url | tr -s ' \n' '  ' | sed 's/^ //; s/ $//')
    certificate=$(pip_setting cert)
    [ -z "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    # pip takes the best version of all its indexes; uv does so only with this index strategy.
    [ -z "$more" ] || export UV_INDEX="${UV_INDEX:-$more}" UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"
    [ -z "$certificate" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$certificate}"
}

# Without the stamp an earlier installation was interrupted: start over. With it, only the difference is installed.
if [ ! -f "$stamp" ]; then
    python=$(find_python)
    echo "creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

set -- --constraint constraints.txt "torch==2.13.0" --editable ".[dev]"
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt uv ||
    echo "uv is not available: installing with pip, which is slower"
if [ -x "$venv/bin/uv" ]; then
    # Byte code is compiled once, here: Ray starts many processes, and where Python may not write byte code (as in many
    # containers) each of them would compile every imported module again.
    if ! (export_pip_settings && "$venv/bin/uv" pip install --compile-bytecode --python "$venv/bin/python" "$@"); then
        echo "uv failed: installing with pip"
        "$venv/bin/python" -m pip install "$@"
    fi
else
    "$venv/bin/python" -m pip install "$@"
fi
# The 3D viewer of the web page. It is optional: without it the page shows a note in place of the 3D view.
"$venv/bin/python" infra/fetch_viewer.py || true
# The weights of the mesh detector. Without them faces are detected by OpenCV's cascades.
"$venv/bin/python" infra/fetch_detectors.py || true
# The byte code of the package itself: an editable installation leaves it to the first use, see above.
"$venv/bin/python" -m compileall -q focus_ray || true
# Compiles the numba kernels once, so that the many processes that Ray starts load them from the cache.
"$venv/bin/python" infra/compile_kernels.py || echo "the numba kernels are not compiled: first use compiles them"
touch "$stamp"
