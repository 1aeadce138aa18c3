"""Pins for the virtual machine: the kernel's simulated GPIO chip, and lgpio, which drives it as a board's.

Debian's kernel is built without gpio-sim, and PyPI has no lgpio for Python 3.13. Both are compiled here from
their sources (`linux-source` of the distribution, lgpio 0.2.2.0), in a throw-away system, for the kernel of
the image, and kept in the cache folder next to it. If the mirror no longer has the headers of a cached
image's kernel, delete that image; it is then built again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.e2e.device.booted import mirror
from tests.e2e.vm.guest import Guest, until
from tests.e2e.vm.image import SUITE, Image, cache, must

LGPIO = "lgpio==0.2.2.0"
MODULE = "gpio_sim_alone"
LINES = 28
"""As many as the header of a Raspberry Pi has."""

_BUILT_WITH = (
    "linux-source make gcc libc6-dev xz-utils swig python3-dev python3-pip python3-setuptools python3-wheel"
)
_COMPILE = f"""
set -eu
cd /root
release=$(ls /lib/modules)
set -- '*/drivers/gpio/gpio-sim.c' '*/kernel/irq/irq_sim.c'
tar xf /usr/src/linux-source-*.tar.xz --strip-components=3 --wildcards "$@"
# In the kernel this is one call; a module has only the two others.
sed -i 's/irq_to_desc(irqnum)/irq_data_to_desc(irq_get_irq_data(irqnum))/' irq_sim.c
echo 'obj-m := {MODULE}.o' >Makefile
echo '{MODULE}-y := gpio-sim.o irq_sim.o' >>Makefile
make -s -C "/lib/modules/$release/build" M=/root modules
# lgpio's setting for a module that contains the C library.
PYPI=1 pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /root lgpio-*.tar.gz
"""

_CHIP = "/sys/kernel/config/gpio-sim/header"
_MAKE_CHIP = f"""
set -e
modprobe configfs
insmod /share/pins/{MODULE}.ko
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
mkdir -p {_CHIP}/bank
echo {LINES} >{_CHIP}/bank/num_lines
echo 1 >{_CHIP}/live
udevadm settle
echo /sys/devices/platform/$(cat {_CHIP}/dev_name)/$(cat {_CHIP}/bank/chip_name)
"""

_WATCH = """
import sys, time
from pathlib import Path

lines = {line: Path(sys.argv[1], f"sim_gpio{line}", "value") for line in map(int, sys.argv[2:])}
before = {}
while True:
    for line, path in lines.items():
        value = path.read_text().strip()
        if before.get(line) != value:
            print(f"{time.monotonic():.3f} {line} {value}", flush=True)
            before[line] = value
    time.sleep(0.02)
"""


def made_pins(image: Image) -> Path:
    """The folder with the module for this image's kernel and the lgpio wheel, made if not in the cache."""
    release = kernel_release(image.kernel)
    made = cache() / f"pins-{release}"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=cache(), prefix="making-pins-") as folder:
            _make(release, Path(folder))
            (Path(folder) / "pins").rename(made)
    return made


def kernel_release(kernel: Path) -> str:
    """As `uname -r` prints it; the header of an x86 kernel points to it (Linux x86 boot protocol, 0x20e)."""
    content = kernel.read_bytes()
    at = int.from_bytes(content[0x20E:0x210], "little") + 0x200
    return content[at:].split(b" ", 1)[0].decode("ascii")


def _make(release: str, folder: Path) -> None:
    source, pins = folder / "source", folder / "pins"
    pins.mkdir()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "lgpio"]
    must(*pip, "--dest", source, LGPIO)
    (source / "compile").write_text(_COMPILE)
    hooks = [
        *(f"copy-in {path} /root" for path in source.iterdir()),
        'chroot "$1" sh /root/compile',
        f'cp "$1"/root/{MODULE}.ko "$1"/root/lgpio-*.whl {pins}',
    ]
    options = ["--quiet", "--variant=minbase", "--format=null", '--aptopt=APT::Install-Recommends "false"']
    options += [f"--include={','.join(_BUILT_WITH.split())},linux-headers-{release}"]
    options += [f"--customize-hook={hook}" for hook in hooks]
    must("mmdebstrap", *options, SUITE, "-", *mirror())


class Pins:
    """The chip in one machine, as /dev/gpiochip0; /share/pins there is the folder of `made_pins`."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._chip = guest.run(_MAKE_CHIP)

    def watch(self, *lines: int) -> None:
        """From now on record each change of these lines, fifty times a second by the machine's clock."""
        self._guest.run("cat >/run/watch.py", stdin=_WATCH)
        words = f"{self._chip} {' '.join(map(str, lines))}"
        unit = "systemd-run --quiet --unit=watch --property=StandardOutput=file:/run/lines"
        self._guest.run(f"{unit} python3 /run/watch.py {words}")

    def changes(self) -> list[tuple[float, int, bool]]:
        """All changes so far: when, by the machine's clock in seconds, which line, and whether it is high."""
        lines = [line.split() for line in self._guest.run("cat /run/lines").splitlines()]
        return [(float(at), int(line), value == "1") for at, line, value in lines]

    def high(self, line: int) -> bool:
        """Whether a line is high now."""
        return self._guest.run(f"cat {self._chip}/sim_gpio{line}/value") == "1"

    def wait(self, line: int, high: bool, limit_s: float) -> None:
        """Wait until a line is high or low."""
        until(lambda: self.high(line) == high, limit_s, f"line {line} is {'high' if high else 'low'}")

    def ground(self, line: int) -> None:
        """Connect a line to ground, like a held button."""
        self._guest.run(self._pulled(line, "down"))

    def free(self, line: int) -> None:
        """Let go: the line's resistor pulls it up."""
        self._guest.run(self._pulled(line, "up"))

    def press(self, line: int, seconds: float) -> None:
        """Connect a line to ground for this time, by the machine's clock."""
        self._guest.run(f"{self._pulled(line, 'down')}; sleep {seconds}; {self._pulled(line, 'up')}")

    def _pulled(self, line: int, way: str) -> str:
        return f"echo pull-{way} >{self._chip}/sim_gpio{line}/pull"
