"""A realm of Kerberos on this machine: MIT's key distribution centre, with a service and a user in keytabs."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import pytest

from app.core.ports import free_port
from tests.support.system import listening
from tests.support.waiting import wait_for

REALM = "SIGHTLINE.TEST"
SERVICE, USER = f"kafka/127.0.0.1@{REALM}", f"camera@{REALM}"
_SBIN = "/usr/sbin"  # Debian keeps the programs there, which is not in every user's PATH
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local")


def require_kerberos() -> None:
    """Skip the test, with the reason, where there is no Kerberos."""
    absent = [name for name in _PROGRAMS if _program(name) is None]
    if absent:
        pytest.skip(f"not installed: {' '.join(absent)} (Debian's krb5-kdc and krb5-admin-server)")
    if find_spec("gssapi") is None:
        pytest.skip("the Python package gssapi is not installed")


class Realm:
    """A context manager, in which the centre answers; every process that is to use it needs :attr:`environment`."""

    def __init__(self, folder: Path) -> None:
        """Lay the realm out in a folder, which must not exist; nothing is started yet."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.config = folder / "krb5.conf"
        self.service_keytab = folder / "service.keytab"
        self.user_keytab = folder / "user.keytab"
        self.config.write_text(
            f"[libdefaults]\n default_realm = {REALM}\n dns_canonicalize_hostname = false\n rdns = false\n"
            f"[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{self._port}\n }}\n"
        )
        (folder / "kdc.conf").write_text(
            f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{self._port}\n kdc_tcp_listen = 127.0.0.1:{self._port}\n"
            f"[realms]\n {REALM} = {{\n  database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n }}\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which MIT's library finds the realm and the user's key, without ``kinit``."""
        return {
            "KRB5_CONFIG": str(self.config),
            "KRB5_CLIENT_KTNAME": str(self.user_keytab),
            "KRB5CCNAME": f"FILE:{self._folder / 'tickets'}",
        }

    def __enter__(self) -> Realm:
        self._call("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        for principal, keytab in ((SERVICE, self.service_keytab), (USER, self.user_keytab)):
            self._call("kadmin.local", "-r", REALM, "addprinc", "-randkey", principal)
            self._call("kadmin.local", "-r", REALM, "ktadd", "-k", str(keytab), principal)
        with (self._folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [str(_program("krb5kdc")), "-n", "-r", REALM], env=self._own, stdout=output, stderr=output
            )
        wait_for(lambda: listening(self._port), 30, "the key distribution centre")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    @property
    def _own(self) -> dict[str, str]:
        return {**os.environ, "KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(self._folder / "kdc.conf")}

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(_program(program)), *arguments], env=self._own, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
