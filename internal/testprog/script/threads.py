# SPDX-License-Identifier: Apache-2.0
# Threads that sleep, wait for an event and lock; sqlite3 with a transaction open; generators, timers, random state.
import os
import queue
import random
import signal
import sqlite3
import sys
import threading
import time

failures = []


def say(line):
    fd = os.open("out", os.O_WRONLY)
    os.write(fd, (line + "\n").encode())
    os.close(fd)


def check(cond, text):
    if not cond:
        failures.append(text)


def command():
    with open("cmd") as f:
        return f.read().strip()


db = sqlite3.connect("test.db", isolation_level=None)
db.execute("pragma journal_mode=" + (sys.argv[1] if len(sys.argv) > 1 else "delete"))
db.execute("create table t (n integer primary key, text)")
db.execute("insert into t values (0, 'before')")
db.execute("begin")
for n in range(1, 1000):
    db.execute("insert into t values (?, ?)", (n, "row %d" % n))

results = queue.Queue()
go = threading.Event()
lock = threading.Lock()
counter = [0]
running = True


def waiter(n):
    go.wait()
    with lock:
        counter[0] += n
    results.put(n)


def spinner():
    x = 0
    while running:
        x += 1
        time.sleep(0.001)
    results.put(-1)


threads = [threading.Thread(target=waiter, args=(n,)) for n in range(20)] + [threading.Thread(target=spinner)]
for t in threads:
    t.start()
timer_fired = threading.Event()
timer = threading.Timer(0.5, timer_fired.set)
timer.start()
gen = (n * n for n in range(100))
for _ in range(10):
    next(gen)
rnd = random.Random(7)
rnd.random()
expected = random.Random(7)
expected.random()
alarms = []
signal.signal(signal.SIGUSR2, lambda s, f: alarms.append(s))

say("ready")
command()

go.set()
running = False
for t in threads:
    t.join(30)
    check(not t.is_alive(), "thread %s does not end" % t.name)
check(counter[0] == sum(range(20)), "counter is %d" % counter[0])
check(timer_fired.wait(30), "the timer did not fire")
check(next(gen) == 100, "the generator is elsewhere")
check(rnd.random() == expected.random(), "the random state differs")
os.kill(os.getpid(), signal.SIGUSR2)
time.sleep(0)
check(alarms == [signal.SIGUSR2], "signals: %s" % alarms)
other = sqlite3.connect("test.db", timeout=0)
try:
    seen = other.execute("select count(*) from t").fetchone()[0]
    check(seen == 1, "another connection sees %d rows of an open transaction" % seen)
except sqlite3.OperationalError as e:
    check("locked" in str(e), str(e))
other.close()
check(db.in_transaction, "no longer in a transaction")
db.execute("insert into t values (1000, 'after')")
db.execute("commit")
check(db.execute("select count(*) from t").fetchone()[0] == 1001, "rows: %s" % db.execute("select count(*) from t").fetchone())
check(db.execute("pragma integrity_check").fetchone()[0] == "ok", "the database is damaged")
for f in failures:
    say("FAIL: " + f)
say("failed" if failures else "ok")
