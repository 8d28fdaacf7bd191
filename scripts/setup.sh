# Shared by sample.sh and test.sh, which source it: a Python, a virtual environment, system packages.
# Everything goes into the repository's folder, except system packages, which are installed only as root on Debian.

say() { printf '== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# system_packages NAME... : install Debian packages as root; otherwise say which are needed.
system_packages() {
    local missing=() name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        printf 'needed from the system, install them first: %s\n' "${missing[*]}" >&2
        return 1
    fi
    say "installing ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# python_command: prints a Python of a version that constraints.txt is for; $PYTHON goes first.
python_command() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# make_venv FOLDER : a virtual environment with pip, made if it is absent or broken.
make_venv() {
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return 0
    local python
    python="$(python_command)" || { system_packages python3 python3-venv && python="$(python_command)"; } ||
        die "Python 3.11 or 3.12 is needed; name it with PYTHON=..."
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        system_packages "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" ||
            die "$python cannot make virtual environments"
    fi
    say "making $1"
    "$python" -m venv --clear "$1"
}

# install FOLDER REQUIREMENT... : kinelift with its extras.
install() {
    local venv="$1"
    shift
    say "installing into $venv"
    rm -rf build/lib build/bdist.* # what an older build left there would end up in the wheel
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "$@"
}
