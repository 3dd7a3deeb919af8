"""What Python would be like on Windows, as far as that can be had here: loaded by every interpreter that has this
folder on its path, decoders of topa with it.

Modules of Unix are not there for anybody; what `os`, `signal` and `socket` have on Unix alone isn't there for topa.
"""

from __future__ import annotations

import builtins
import os
import sys
from types import ModuleType
from typing import Any

# On Windows these two have what they need; here they need what is hidden.
import filelock  # noqa: F401
import psutil  # noqa: F401

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "uvloop")
NAMES = {
    "os": (
        *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "chown", "lchown", "mkfifo", "mknod", "nice"),
        *("killpg", "setsid", "getpgid", "setpgid", "wait", "waitid", "WNOHANG", "uname", "statvfs", "sysconf"),
        *("getloadavg", "sched_getaffinity", "sched_setaffinity", "sched_yield", "pread", "pwrite", "lockf", "fchown"),
        *(
            "O_NOFOLLOW",
            "O_NONBLOCK",
            "O_CLOEXEC",
            "O_DIRECTORY",
            "O_SYNC",
            "O_TMPFILE",
            "posix_fadvise",
            "posix_spawn",
        ),
        *("readv", "writev", "sendfile", "getxattr", "setxattr", "memfd_create", "EX_OK", "ctermid", "confstr"),
    ),
    "signal": (
        *("SIGKILL", "SIGXCPU", "SIGXFSZ", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCHLD", "SIGQUIT"),
        *("SIGSTOP", "SIGTSTP", "SIGCONT", "alarm", "setitimer", "pause", "sigwait", "pthread_kill", "pthread_sigmask"),
    ),
    "socket": ("AF_UNIX", "SO_REUSEPORT", "socketpair"),
    "mmap": ("PROT_READ", "PROT_WRITE", "MAP_SHARED", "MAP_PRIVATE", "MAP_POPULATE"),
}
_import = builtins.__import__
_copies: dict[str, ModuleType] = {}


class _Hidden(ModuleType):
    """A module without some of its names."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        whole = sys.modules.get(name) or _import(name)
        self.__dict__.update({key: value for key, value in vars(whole).items() if key not in NAMES[name]})


def _import_for_topa(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    # A decoder is topa, too: it runs as `python -m topa.features.decoding`.
    own = str((globals or {}).get("__package__") or "").partition(".")[0] == "topa"
    if own and level == 0 and name in NAMES:
        if name not in _copies:
            _copies[name] = _Hidden(name)
        return _copies[name]
    return _import(name, globals, locals, fromlist, level)


builtins.__import__ = _import_for_topa
for module in MODULES:
    sys.modules[module] = None  # type: ignore[assignment]
os.environ["TOPA_TEST_HIDDEN"] = "1"
