# Sourced by scripts/run and scripts/test: installs what is missing on Debian and Ubuntu, else names it and stops.

packages_build="build-essential cmake ninja-build pkg-config libpthreadpool-dev libpcre2-dev libjansson-dev glslc spirv-tools libvulkan-dev"
packages_test="libcriterion-dev clang clang-format python3 mesa-vulkan-drivers vulkan-validationlayers libzstd-dev"
packages_qemu="qemu-user-static gcc-aarch64-linux-gnu"
packages_browser="chromium chromium-driver" # Debian's; Ubuntu has none of that name that is not a snap

say() { printf '%s\n' "$*" >&2; }

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || printf '%s ' "$package"
    done
}

# require_packages PACKAGE...
require_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        local tool
        for tool in cmake ninja pkg-config cc; do
            command -v "$tool" >/dev/null && continue
            say "This system has no apt-get. Please install the equivalents of these Debian packages, then run this again:"
            say "  $*"
            exit 1
        done
        return 0
    fi
    local missing
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    local root=""
    if [ "$(id -u)" != 0 ]; then
        root=sudo
        if ! command -v sudo >/dev/null; then
            say "Missing packages: $missing"
            say "Install them as root: apt-get install $missing"
            exit 1
        fi
    fi
    say "Installing: $missing"
    local log
    log=$(mktemp)
    # Word splitting is wanted: $missing is a list.
    # shellcheck disable=SC2086
    if ! { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "apt-get could not install: $missing"
        exit 1
    fi
    rm -f "$log"
}

# want_packages PACKAGE...: installs them on Debian if that can be done. Who uses them says what is skipped without them.
want_packages() {
    if grep -qs '^ID=debian$' /etc/os-release; then
        (require_packages "$@") || say "Going on without: $*"
    fi
}
