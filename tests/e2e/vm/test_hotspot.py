"""A device without a known Wi-Fi: comitup with our settings, a hotspot on simulated radios, and a telephone.

The kernel's mac80211_hwsim simulates the radios; everything above it is real. The appliance is a unit that
does nothing: it only has to be stopped while strangers may join.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.vm.guest import Guest, until
from tests.e2e.vm.image import base_image
from tests.machine import ROOT

PACKAGES = "comitup network-manager wpasupplicant iw wireless-regdb"
PASSWORD = "a password to type"
LIMIT_S = 900.0

STAND_IN = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
WIRED = "[keyfile]\nunmanaged-devices=interface-name:eth*\n"
TELEPHONE = "ip netns exec telephone"
FORM = "import urllib.request; print(urllib.request.urlopen('http://10.41.0.1/', timeout=60).read().decode())"

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """A machine with two radios; the telephone uses the second."""
    with Guest(base_image(PACKAGES), []) as one:
        one.power_on()
        one.run("systemctl stop comitup comitup-web; true")
        one.run("cat >/etc/NetworkManager/conf.d/wired.conf", stdin=WIRED)
        one.run("cat >/etc/systemd/system/interview-grader.service", stdin=STAND_IN)
        one.run("systemctl daemon-reload; systemctl enable --now interview-grader")
        one.run(
            "modprobe mac80211_hwsim radios=2; ip netns add telephone; iw phy phy1 set netns name telephone"
        )
        settings = (ROOT / "provisioning/image/comitup.conf").read_text()
        one.run("cat >/etc/comitup.conf", stdin=settings.replace("change-me-before-use", PASSWORD))
        one.run("systemctl restart NetworkManager comitup")
        yield one


def test_a_telephone_joins_the_hotspot_and_finds_the_form(guest: Guest) -> None:
    def name() -> str:
        about = guest.run("iw dev wlan0 info; true").splitlines()
        return next((line.split()[1] for line in about if line.strip().startswith("ssid ")), "")

    ssid = until(name, LIMIT_S, "a hotspot")
    assert ssid.startswith("interview-grader-")
    until(
        lambda: "inactive" in guest.run("systemctl is-active interview-grader; true"),
        LIMIT_S,
        "it is stopped",
    )

    network = f'p2p_disabled=1\nnetwork={{\n ssid="{ssid}"\n psk="{PASSWORD}"\n}}\n'
    guest.run("cat >/run/telephone.conf", stdin=network)
    guest.run(f"{TELEPHONE} wpa_supplicant -B -i wlan1 -c /run/telephone.conf")
    until(
        lambda: ssid in guest.run(f"{TELEPHONE} iw dev wlan1 link; true"), LIMIT_S, "the telephone has joined"
    )
    guest.run(f"{TELEPHONE} ip address add 10.41.0.77/24 dev wlan1")

    def page() -> str:
        found = guest.run(f'{TELEPHONE} python3 -c "{FORM}" 2>&1; true')
        return found if "<html" in found.lower() else ""

    assert "<form" in until(page, LIMIT_S, "a page").lower()
