"""Stops single threads of a server, which nothing else can do, by ptrace."""
import ctypes
import os
import time

PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 7, 17, 0x4206, 0x4207
WAIT_ALL = 0x40000000  # __WALL: threads too


def find_thread(process, name):
    for thread in os.listdir("/proc/%d/task" % process.pid):
        try:
            with open("/proc/%d/task/%s/comm" % (process.pid, thread)) as file:
                if file.read().strip() == name:
                    return int(thread)
        except FileNotFoundError:
            pass  # it has ended meanwhile
    return None


def thread_of(process, name, seconds=30):
    """The id of the process's thread of this name, which it gives itself some time after it was made."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        thread = find_thread(process, name)
        if thread:
            return thread
        time.sleep(0.01)
    raise AssertionError("no thread " + name)


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


class Hold:
    """Holds a thread from hold() to let_go(), both by one thread of the test's. OSError where ptrace is not allowed."""

    def __init__(self, process, name):
        self.thread = thread_of(process, name)
        ptrace(PTRACE_SEIZE, self.thread)

    def hold(self):
        ptrace(PTRACE_INTERRUPT, self.thread)
        os.waitpid(self.thread, WAIT_ALL)

    def let_go(self):
        ptrace(PTRACE_DETACH, self.thread)  # or its end would wait for us
