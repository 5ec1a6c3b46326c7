#!/usr/bin/python3
"""Side-by-side benchmark of VM-disk backup programs.

  bench.py [--quick] [--size 2G] [--days N] [--rounds N] [--phases limits,nbd,full,incr,clone,restore,random,verify]
           [--only NAME,NAME] [--all] [--add FILE.toml] [--data DIR] [--work DIR] [--json OUT] [--keep]

Every contestant is a TOML file in contestants/ (see README.md); --add brings one from elsewhere.  All of them get the
same disk from the same NBD server, in rounds whose order rotates, so that noise from neighbours falls on all alike.
Times are wall seconds until the data is on disk (fsync of the repository included), CPU seconds are the contestant's
own processes (pipe helpers included, the NBD server's not), RSS is the largest single process.
"""
import argparse, glob, json, os, re, shlex, shutil, signal, socket, statistics, subprocess, sys, time, tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import mkimage

# Programs, disks and repositories live outside the tree.
CACHE = (os.environ.get("SENDENSE_CACHE") or (os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) + "/sendense") + "/bench"
BIN = CACHE + "/bin"
TICK = os.sysconf("SC_CLK_TCK")
NCPU = os.cpu_count()
MB = 1e6
T0 = time.time()


def say(*a):
    print(f"[{time.time() - T0:6.1f}s]", *a, file=sys.stderr, flush=True)


def cpu_busy():
    t = list(map(int, open("/proc/stat").readline().split()[1:9]))
    return (sum(t) - t[3] - t[4]) / TICK


def proc_cpu(pid):
    try:
        t = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(t[11]) + int(t[12])) / TICK
    except OSError:
        return 0.0


def base_env():
    e = dict(os.environ, LC_ALL="C.UTF-8", HERE=HERE)
    e["PATH"] = ":".join([BIN, e.get("PATH", ""), "/usr/sbin:/sbin"])
    return e


def run(cmd, env=None, timeout=600, server=0):
    """Run a bash snippet; wall, CPU and RSS of it and its children."""
    full = base_env()
    full.update(env or {})
    err = open(f"{TMP}/stderr", "w+b")
    out = open(f"{TMP}/stdout", "w+b")
    s0 = proc_cpu(server) if server else 0
    b0 = cpu_busy()
    t0 = time.monotonic()
    # GNU time stands between, for the peak RSS: a child forked from this interpreter would start with its RSS as a floor
    p = subprocess.Popen(["/usr/bin/time", "-o", f"{TMP}/time", "-f", "%M", "bash", "-euo", "pipefail", "-c", cmd], env=full, stdin=subprocess.DEVNULL, stdout=out,
                         stderr=err, start_new_session=True, cwd=TMP)
    timed_out = False
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(p.pid, signal.SIGKILL))
    signal.alarm(timeout)
    _, status, ru = os.wait4(p.pid, 0)
    signal.alarm(0)
    p.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - t0
    busy = cpu_busy() - b0
    srv = (proc_cpu(server) - s0) if server else 0
    cpu = ru.ru_utime + ru.ru_stime
    out.seek(0); err.seek(0)
    try:
        rss = int(open(f"{TMP}/time").read().split()[-1]) / 1024
    except (OSError, ValueError, IndexError):
        rss = 0
    r = dict(wall=wall, cpu=cpu, user=ru.ru_utime, sys=ru.ru_stime, rss_mb=rss, rc=p.returncode,
             srv_cpu=srv, others=max(0.0, (busy - cpu - srv)) / wall / NCPU if wall else 0,
             out=out.read()[-4000:].decode(errors="replace"), err=err.read()[-1500:].decode(errors="replace"))
    out.close(); err.close()
    return r


class Server:
    """A background server; ready when probe() is true."""

    def __init__(self, cmd, env=None, probe=None, timeout=60):
        full = base_env(); full.update(env or {})
        self.t0 = time.monotonic()
        self.log = open(f"{TMP}/server.log", "w+b")
        self.p = subprocess.Popen(["bash", "-c", cmd if cmd.startswith("exec") or "\n" in cmd else "exec " + cmd], env=full, stdin=subprocess.DEVNULL,
                                  stdout=self.log, stderr=self.log, start_new_session=True, cwd=TMP)
        self.value = None
        while True:
            v = probe()
            if v:
                self.value = v
                break
            if self.p.poll() is not None or time.monotonic() - self.t0 > timeout:
                self.log.seek(0)
                msg = self.log.read()[-800:].decode(errors="replace")
                self.stop()
                raise RuntimeError("server did not come up: " + msg)
            time.sleep(0.005)
        self.ready = time.monotonic() - self.t0

    @property
    def pid(self):
        return self.p.pid

    def stop(self, mnt=None):
        if mnt and os.path.ismount(mnt):
            subprocess.run(["fusermount3", "-u", mnt], capture_output=True)
            try:
                self.p.wait(5)
            except subprocess.TimeoutExpired:
                pass
        if self.p.poll() is None:
            try:
                os.killpg(self.p.pid, signal.SIGTERM)
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, signal.SIGKILL); self.p.wait()
            except ProcessLookupError:
                pass
        if mnt and os.path.ismount(mnt):
            subprocess.run(["fusermount3", "-u", "-z", mnt], capture_output=True)
        self.log.close()


def sock_up(path):
    def f():
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path); s.close(); return path
        except OSError:
            return None
    return f


def port_up(port):
    def f():
        s = socket.socket()
        try:
            s.connect(("127.0.0.1", port)); s.close(); return port
        except OSError:
            return None
    return f


def tree(path):
    for d, _, fs in os.walk(path):
        for f in fs:
            yield os.path.join(d, f)


def du(path):
    tot = 0
    for p in tree(path):
        try:
            tot += os.lstat(p).st_blocks * 512
        except OSError:
            pass
    return tot


def nfiles(path):
    return sum(1 for _ in tree(path))


def fsync_new(path, since):
    """Makes durable what is new in a folder, or a file whatever its time: some programs restore that too."""
    t = time.monotonic()
    for p in ([path] if os.path.isfile(path) else tree(path)):
        try:
            if p == path or os.stat(p).st_mtime >= since - 2:
                fd = os.open(p, os.O_RDONLY); os.fsync(fd); os.close(fd)
        except OSError:
            pass
    return time.monotonic() - t


def evict(path):
    for p in tree(path):
        try:
            fd = os.open(p, os.O_RDONLY); os.fsync(fd); os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED); os.close(fd)
        except OSError:
            pass


def warm(path):
    """Have the source in the page cache, so that nobody pays for the disk under it."""
    try:
        r = subprocess.run(["fincore", "-bnr", "-o", "RES", path], capture_output=True, text=True).stdout.split()
        if r and int(r[0]) >= os.stat(path).st_blocks * 512 * 0.995:
            return
    except (OSError, ValueError):
        pass
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M", "status=none"])


def med(xs):
    return statistics.median(xs) if xs else None


def summary(xs, nd=2):
    xs = [x for x in xs if x is not None]
    if not xs:
        return "-"
    if len(xs) == 1:
        return f"{xs[0]:.{nd}f}"
    return f"{med(xs):.{nd}f} [{min(xs):.{nd}f}..{max(xs):.{nd}f}]"


# ---------------------------------------------------------------------------------------------------- limits

def phase_limits(R, a):
    L = {}
    t = "0.5" if a.quick else "2"
    d = f"{a.work}/limits"
    os.makedirs(d, exist_ok=True)
    size = "128m" if a.quick else "1g"
    secs = "1" if a.quick else "4"

    def fio_out(r):
        s = open(f"{TMP}/stdout").read()
        return json.loads(s[s.index("{"):])

    def fio(name, *opts):
        r = run(f"fio --name=x --directory={d} --filename=f --size={size} --output-format=json --group_reporting {' '.join(opts)}")
        try:
            x = fio_out(r)["jobs"][0]
            rd, wr = x["read"], x["write"]
            L[name] = dict(mb_s=(rd["bw_bytes"] + wr["bw_bytes"]) / MB, iops=rd["iops"] + wr["iops"], cpu=r["cpu"])
        except (ValueError, KeyError, IndexError) as e:
            L[name] = dict(error=str(e) + r["err"][:200])
    tb = f"--time_based --runtime={secs}"
    tests = [("disk write 1M buffered + fsync at end", "--rw=write --bs=1m --end_fsync=1"),
             ("disk write 1M direct qd8", f"--rw=write --bs=1m --direct=1 --ioengine=libaio --iodepth=8 {tb}"),
             ("disk read 1M direct qd8", f"--rw=read --bs=1m --direct=1 --ioengine=libaio --iodepth=8 {tb}"),
             ("disk read 1M buffered, from the page cache", f"--rw=read --bs=1m --pre_read=1 {tb}"),
             ("disk randread 4K direct qd1", f"--rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=1 {tb}"),
             ("disk randread 4K direct qd32", f"--rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=32 {tb}"),
             ("disk randread 64K direct qd8", f"--rw=randread --bs=64k --direct=1 --ioengine=libaio --iodepth=8 {tb}")]
    for name, o in tests if not a.quick else tests[:1] + tests[4:5]:
        fio(name, o)
    shutil.rmtree(d, ignore_errors=True)

    r = run(f"limits {t} {a.data}/base.raw")
    for line in r["out"].splitlines():
        k, v = line.rsplit(" ", 1)
        L[k] = dict(mb_s=float(v))
    # loopback TCP
    s = Server("exec iperf3 -s -1 -p 15201 -B 127.0.0.1", probe=lambda: run_quiet("ss -ltn | grep -q :15201"))
    r = run(f"iperf3 -c 127.0.0.1 -p 15201 -t {1 if a.quick else 2} -J -l 1M", server=s.pid)
    s.stop()
    try:
        j = json.loads(open(f"{TMP}/stdout").read())
        by = j["end"]["sum_received"]["bytes"] / MB
        L["TCP loopback, 1 stream (iperf3)"] = dict(mb_s=j["end"]["sum_received"]["bits_per_second"] / 8 / MB)
        u = j["end"]["cpu_utilization_percent"]
        cs = (u["host_total"] + u["remote_total"]) / 100 * j["end"]["sum_received"]["seconds"]
        if cs:
            L["TCP loopback, per CPU second of both ends"] = dict(mb_s=by / cs)
    except (ValueError, KeyError):
        pass
    algs = (("sha256", "SHA-256"), ("sha1", "SHA-1"), ("blake2b512", "BLAKE2b"), ("aes-256-gcm", "AES-256-GCM"), ("aes-256-ctr", "AES-256-CTR"), ("chacha20-poly1305", "ChaCha20-Poly1305"))
    for alg, label in algs if not a.quick else (algs[0], algs[3]):
        r = run(f"openssl speed -seconds 1 -bytes 65536 -evp {alg}")      # per user CPU second
        m = re.findall(r"([\d.]+)k\s*$", r["out"], re.M)
        if m:
            L[f"{label} per core (openssl, 64 KiB)"] = dict(mb_s=float(m[-1]) * 1000 / MB)
    if shutil.which("b3sum"):
        f = f"{a.data}/base.raw"
        n = min(os.path.getsize(f), 1 << 30 if not a.quick else 1 << 28)
        run(f"head -c {n} {f} > {TMP}/b3")
        r = run(f"b3sum --num-threads 1 {TMP}/b3")
        L["BLAKE3 per core (b3sum 1.2, one thread)"] = dict(mb_s=n / MB / r["cpu"])
        os.unlink(f"{TMP}/b3")
    R["limits"] = L


def run_quiet(cmd):
    return subprocess.run(["bash", "-c", cmd], capture_output=True).returncode == 0


# ---------------------------------------------------------------------------------------------------- nbd

def phase_nbd(R, a):
    """Readers against NBD servers.  nbdcopy hands out work in pieces of 128 MiB, one connection each, so windows below
    that would never show its multi-conn; it also opens only as many connections as it has threads (= cores)."""
    size = os.path.getsize(a.data + "/base.raw")
    win = min((512 if not a.all else 1024) << 20, size // 4 // (1 << 20) * (1 << 20))
    wraw, wq = f"{a.work}/win.raw", f"{a.work}/win.qcow2"
    # a dense window: the middle of the root partition's files
    off = mkimage.layout(size)["root"][0] + (8 << 20)
    subprocess.run(["dd", f"if={a.data}/base.raw", f"of={wraw}", "bs=1M", f"skip={off >> 20}", f"count={win >> 20}", "status=none"], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-S", "0", wraw, wq], check=True)
    port = 15301
    rows = {}

    def readers(uri, tcp, w, naive64):
        q = shlex.quote(uri)
        null = f"driver=null-co,size={w}"
        x = [("naive 64K, 1 conn", f"nbdtool seq {q} 65536 1 {naive64}", naive64),
             ("naive 1M, 1 conn", f"nbdtool seq {q} 1048576 1", w),
             ("naive 256K, 8 conn", f"nbdtool seq {q} 262144 8", w),
             ("nbdcopy 1 conn, 1 request", f"nbdcopy --connections=1 --requests=1 {q} null:", w),
             ("nbdcopy 1 conn", f"nbdcopy --connections=1 {q} null:", w),
             ("nbdcopy (default)", f"nbdcopy {q} null:", w),
             ("nbdcopy 8 conn", f"nbdcopy --threads=8 --connections=8 {q} null:", w),
             ("qemu-img convert (default)", f"qemu-img convert -f raw -n --target-image-opts {q} {null}", w),
             ("qemu-img convert -m 16 -W", f"qemu-img convert -m 16 -W -f raw -n --target-image-opts {q} {null}", w)]
        return x

    def one(label, cmd, tcp, w, rnd, only=None, naive64=None):
        sock = f"{TMP}/w.sock"
        if os.path.exists(sock):
            os.unlink(sock)
        where = f"-i 127.0.0.1 -p {port}" if tcp else f"-U {sock}"
        if "qemu-nbd" in cmd:
            where = f"-b 127.0.0.1 -p {port}" if tcp else f"-k {sock}"
        uri = f"nbd://127.0.0.1:{port}" if tcp else f"nbd+unix:///?socket={sock}"
        s = Server(cmd.replace("@@", where), probe=port_up(port) if tcp else sock_up(sock))
        try:
            rs = readers(uri, tcp, w, min(w, naive64 or w))
            if only:
                rs = [x for x in rs if x[0] in only]
            k = rnd % len(rs)
            for name, rc, n in rs[k:] + rs[:k]:
                r = run(rc, server=s.pid, timeout=120)
                rows.setdefault(label, {}).setdefault(name, []).append(
                    dict(mb_s=n / MB / r["wall"] if r["rc"] == 0 else None, wall=r["wall"], cpu=r["cpu"], srv_cpu=r["srv_cpu"],
                         rss_mb=r["rss_mb"], bytes=n, others=r["others"], err="" if r["rc"] == 0 else r["err"][-300:]))
        finally:
            s.stop()

    nb = "exec nbdkit -f -r @@ --filter=noextents"
    qn = f"exec qemu-nbd -t -r -e 32 @@ -f qcow2 {wq}"
    mid = min(win, 512 << 20)
    rate = min(win, 256 << 20)
    dl = lambda ms, ser, w: (f"exec nbdkit -f -r @@ {'--filter=noparallel ' if ser else ''}--filter=noextents --filter=truncate --filter=delay "
                          f"file {wraw} truncate={w} delay-read={ms}ms" + (" serialize=requests" if ser else ""))
    main5 = {"naive 64K, 1 conn", "naive 1M, 1 conn", "naive 256K, 8 conn", "nbdcopy (default)", "qemu-img convert (default)", "vates js 8 conn (default)"}
    slow = {n for n, _, _ in readers("x", True, 1, 1)} - {"nbdcopy 1 conn, 1 request"}
    for rnd in range(a.nbd_rounds):
        warm(wraw); warm(wq)
        if not a.quick:
            one("nbdkit file, unix", f"{nb} file {wraw}", False, win, rnd)
        one("nbdkit file, tcp", f"{nb} file {wraw}", True, win, rnd, main5 if a.quick else None)
        if not a.quick:
            one("qemu-nbd qcow2, unix", qn, False, win, rnd)
            one("qemu-nbd qcow2, tcp", qn, True, win, rnd)
            warm(a.data + "/base.raw")
            one("nbdkit tcp, whole disk with its holes reported", f"exec nbdkit -f -r @@ file {a.data}/base.raw", True, size, rnd, main5, 512 << 20)
            one("nbdkit tcp + 1 ms per request", dl(1, False, mid), True, mid, rnd, slow, 64 << 20)
        one("nbdkit tcp + 5 ms per request", dl(5, False, mid), True, mid, rnd, main5 - {"naive 64K, 1 conn"} if a.quick else slow, 16 << 20)
        if not a.quick:
            one("nbdkit tcp + 1 ms, one request at a time per connection", dl(1, True, mid), True, mid, rnd, slow, 64 << 20)
            one("nbdkit tcp + 5 ms, one request at a time per connection", dl(5, True, rate), True, rate, rnd, main5 | {"nbdcopy 8 conn", "vates js 1 conn, readahead 16"}, 16 << 20)
            one("nbdkit tcp, 1 Gbit/s in all", f"exec nbdkit -f -r @@ --filter=noextents --filter=truncate --filter=rate file {wraw} truncate={rate} rate=1G burstiness=0.1", True, rate, rnd, main5, 64 << 20)
            one("nbdkit tcp, 400 Mbit/s per connection", f"exec nbdkit -f -r @@ --filter=noextents --filter=truncate --filter=rate file {wraw} truncate={rate} connection-rate=400M burstiness=0.1", True, rate, rnd, main5 | {"nbdcopy 8 conn"}, 64 << 20)
        say(f"nbd round {rnd + 1}/{a.nbd_rounds}")
    os.unlink(wraw); os.unlink(wq)
    R["nbd"] = dict(window=win, mid=mid, rate=rate, rows=rows)


# ---------------------------------------------------------------------------------------------------- contestants

class Contestant:
    def __init__(self, path, a):
        c = tomllib.load(open(path, "rb"))
        self.__dict__.update(dict(default=True, cbt=False, anchor=False, incr=None, verify=None, serve=None, target=None, reader=None, points="all",
                                  note="", label=c["name"], env={}, version="true", verify_note=""))
        self.__dict__.update(c)
        self.a = a
        self.dir = f"{a.work}/{self.name}"
        self.repo, self.tmp, self.mnt = self.dir + "/repo", self.dir + "/tmp", self.dir + "/mnt"
        self.failed = None

    def environ(self, **kv):
        e = dict(REPO=self.repo, TMP=self.tmp, MNT=self.mnt, SIZE=str(self.a.bytes), BIN=BIN)
        e.update({k: str(v) for k, v in kv.items()})
        for k, v in self.env.items():
            e[k] = re.sub(r"\$(\w+)", lambda m: e.get(m.group(1), os.environ.get(m.group(1), "")), v)
        return e

    def fresh(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.tmp); os.makedirs(self.mnt)
        r = run(self.init, self.environ())
        if r["rc"]:
            self.failed = "init: " + r["err"][-300:]
            say(self.name, "FAILED", self.failed)
        return r


class Source:
    """An NBD server for one disk image."""

    def __init__(self, img):
        self.img = img
        self.sock = f"{TMP}/src-{os.path.basename(img)}.sock"
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        self.s = Server(f"exec nbdkit -f -r -t 16 -U {self.sock} file {img}", probe=sock_up(self.sock))
        self.uri = f"nbd+unix:///?socket={self.sock}"


def op(c, kind, cmd, src=None, timeout=900, **kv):
    """One measured operation that writes into the repository."""
    if src:
        warm(src.img)
    before = du(c.repo)
    t = time.time()
    e = c.environ(**kv)
    e["URI"] = src.uri if src else ""
    e["SRC"] = src.img if src else ""
    r = run(cmd, e, server=src.s.pid if src else 0, timeout=timeout)
    sync = fsync_new(c.repo, t)
    after = du(c.repo)
    out = dict(wall=r["wall"] + sync, run=r["wall"], sync=sync, cpu=r["cpu"], srv_cpu=r["srv_cpu"], rss_mb=r["rss_mb"],
               grew=after - before, repo=after, others=r["others"], rc=r["rc"])
    start = re.search(r'"startMs":([\d.]+)', r["out"])
    out["start"] = float(start[1]) / 1000 if start else None
    if r["rc"]:
        out["error"] = (r["err"] or r["out"])[-400:]
        c.failed = f"{kind}: " + out["error"]
        say(c.name, "FAILED", c.failed)
    return out


def rot(xs, k):
    xs = [x for x in xs if not x.failed]
    k = k % len(xs) if xs else 0
    return xs[k:] + xs[:k]


def phases_backup(R, a, cs):
    res = R["results"] = {c.name: dict(label=c.label, note=c.note, cbt=c.cbt, verify_note=c.verify_note, full=[], incr=[], clone=None, sibling=None, restore=[], random=None, verify=[]) for c in cs}
    P = a.phases
    live = Source(a.data + "/live.raw")
    sources = [live]
    try:
        for c in cs:
            r = run(c.version, c.environ())
            res[c.name]["version"] = r["out"].strip().splitlines()[0][:80] if r["out"].strip() else ""
        if "full" in P:
            for rnd in range(a.rounds):
                for c in rot(cs, rnd):
                    c.fresh()
                    if c.failed:
                        continue
                    r = op(c, "full", c.backup, live, VM="vm1", POINT="day0", DAY=0, ALLOC=a.data + "/base.alloc", EXTENTS=a.data + "/base.alloc")
                    r["files"] = nfiles(c.repo)
                    res[c.name]["full"].append(r)
                    say(f"full {rnd + 1}/{a.rounds} {c.name}: {r['wall']:.2f} s, cpu {r['cpu']:.2f} s, rss {r['rss_mb']:.0f} MB, repo {r['repo'] / MB:.0f} MB, others {r['others']:.0%}")
        chain = [c for c in cs if c.points == "all"]
        last = 0
        if "incr" in P:
            for day in range(1, a.days + 1):
                mkimage.apply_day(a.data, day)
                last = day
                for c in rot(chain, day):
                    r = op(c, f"day {day}", c.incr or c.backup, live, VM="vm1", POINT=f"day{day}", PARENT=f"day{day - 1}", DAY=day,
                           EXTENTS=f"{a.data}/day{day}.extents", ALLOC=a.data + "/base.alloc")
                    res[c.name]["incr"].append(r)
                say(f"day {day}: " + ", ".join(f"{c.name} {res[c.name]['incr'][-1]['wall']:.2f}s +{res[c.name]['incr'][-1]['grew'] / MB:.0f}MB" for c in chain if res[c.name]["incr"]))
        if "restore" in P:
            for rnd in range(a.rounds):
                for c in rot(cs, rnd + 1):
                    out = f"{a.work}/restored.raw"
                    for x in (out, out + ".d"):
                        shutil.rmtree(x, ignore_errors=True) if os.path.isdir(x) else os.path.exists(x) and os.unlink(x)
                    pt = "day0" if c.points == "full" else f"day{last}"
                    t = time.time()
                    r = run(c.restore, c.environ(VM="vm1", POINT=pt, DAY=last, OUT=out), timeout=900)
                    s = fsync_new(out, t) if os.path.exists(out) else 0
                    ref = a.data + ("/base.raw" if pt == "day0" else "/live.raw")
                    same = r["rc"] == 0 and subprocess.run(["cmp", "-s", out, ref]).returncode == 0
                    e = dict(wall=r["wall"] + s, run=r["wall"], sync=s, cpu=r["cpu"], rss_mb=r["rss_mb"], same=same, others=r["others"],
                             disk=os.stat(out).st_blocks * 512 if os.path.exists(out) else 0)
                    if not same:
                        e["error"] = r["err"][-300:]
                    res[c.name]["restore"].append(e)
                    say(f"restore {c.name}: {e['wall']:.2f} s, cpu {e['cpu']:.2f} s, {'identical' if same else 'DIFFERS ' + r['err'][-200:]}")
                    if os.path.exists(out):
                        os.unlink(out)
                    shutil.rmtree(out + ".d", ignore_errors=True)
        if "random" in P:
            for c in rot(cs, 0):
                if c.serve or c.reader:
                    res[c.name]["random"] = (random_reads if c.serve else own_reads)(a, c, last)
        if "clone" in P:
            for img in ("clone", "sibling"):
                f = f"{a.data}/{img}.raw"
                if not os.path.exists(f):
                    continue
                s = Source(f); sources.append(s)
                for c in rot(chain, 2):
                    vm = {"clone": "vm2", "sibling": "vm3"}[img]
                    r = op(c, img, c.backup, s, VM=vm, POINT="day0", DAY=0, ALLOC=f"{a.data}/{img}.alloc", EXTENTS=f"{a.data}/{img}.alloc")
                    res[c.name][img] = r
                say(f"{img}: " + ", ".join(f"{c.name} {res[c.name][img]['wall']:.2f}s +{res[c.name][img]['grew'] / MB:.0f}MB" for c in chain if res[c.name][img]))
        if "verify" in P:
            for rnd in range(a.rounds):
                for c in rot(chain, rnd + 3):
                    if not c.verify:
                        continue
                    r = run(c.verify, c.environ(VM="vm1", POINT=f"day{last}"), timeout=900)
                    res[c.name]["verify"].append(dict(wall=r["wall"], cpu=r["cpu"], rss_mb=r["rss_mb"], rc=r["rc"], repo=du(c.repo), others=r["others"],
                                                      error=(r["err"] or r["out"])[-300:] if r["rc"] else ""))
                    say(f"verify {c.name}: {r['wall']:.2f} s, cpu {r['cpu']:.2f} s, rc {r['rc']} {r['err'][-150:] if r['rc'] else ''}")
    finally:
        for s in sources:
            s.s.stop()
        if "incr" in P:
            mkimage.reset(a.data)


RANDOM_TESTS = (("4K cold", 4096, 1, 11), ("64K", 65536, 1, 12), ("64K x8", 65536, 8, 13), ("4K again", 4096, 1, 11))


def own_reads(a, c, last):
    """The same reads by the contestant's own program, where it cannot serve its disks yet."""
    pt = "day0" if c.points == "full" else f"day{last}"
    ref = a.data + ("/base.raw" if pt == "day0" else "/live.raw")
    evict(c.repo); warm(ref)
    tests = RANDOM_TESTS[:2 if a.quick else 4]
    runs = " ".join(f"{bs}:{1 if a.quick else 3}:{th}:{seed}" for _, bs, th, seed in tests)
    r = run(c.reader, c.environ(VM="vm1", POINT=pt, DAY=last, REF=ref, EXTENTS=f"{a.data}/base.alloc", RUNS=runs), timeout=120)
    try:
        ready, *lines = [json.loads(line) for line in r["out"].splitlines()]
        out = dict(ready=ready["ready"], tests={t[0]: x for t, x in zip(tests, lines, strict=True)}, rss_mb=r["rss_mb"], own=True)
    except (ValueError, KeyError):
        return dict(error=(r["err"] or r["out"])[-300:])
    say(f"random {c.name} (its own reader): " + "; ".join(f"{k} {v['iops']:.0f}/s p50 {v['p50_us']} us p99 {v['p99_us']}" for k, v in out["tests"].items()))
    return out


def random_reads(a, c, last):
    sock = f"{c.tmp}/serve.sock"
    if os.path.exists(sock):
        os.unlink(sock)
    pt = "day0" if c.points == "full" else f"day{last}"
    ref = a.data + ("/base.raw" if pt == "day0" else "/live.raw")
    env = c.environ(VM="vm1", POINT=pt, DAY=last, SOCK=sock)
    evict(c.repo); warm(ref)
    if c.target == "nbd":
        probe = lambda: f"nbd+unix:///?socket={sock}" if sock_up(sock)() else None
    elif c.target.startswith("uri:"):
        full = base_env(); full.update(env)
        uri = re.sub(r"\$(\w+)", lambda m: env.get(m.group(1), ""), c.target[4:].strip())
        probe = lambda: uri if subprocess.run(["nbdinfo", "--size", uri], capture_output=True).returncode == 0 else None
    else:
        full = base_env(); full.update(env)

        def probe():
            if not os.path.ismount(c.mnt):
                return None
            p = subprocess.run(["bash", "-c", c.target], env=full, capture_output=True, text=True)
            return p.stdout.strip() if p.returncode == 0 else None
    try:
        s = Server(c.serve, env, probe)
    except RuntimeError as e:
        say(f"random {c.name}: {e}")
        return dict(error=str(e)[-300:])
    secs = 0.5 if a.quick else 3
    out = dict(ready=s.ready, tests={})
    try:
        for name, bs, th, seed in RANDOM_TESTS[:2 if a.quick else 4]:
            r = run(f"nbdtool rand {shlex.quote(s.value)} {a.data}/base.alloc {bs} {secs} {th} {seed} {ref}", server=s.pid, timeout=60)
            try:
                x = json.loads(r["out"]); x["srv_cpu"] = r["srv_cpu"]
            except ValueError:
                x = dict(error=r["err"][-300:])
            out["tests"][name] = x
        out["rss_mb"] = rss_of(s.pid)
    finally:
        s.stop(c.mnt)
    say(f"random {c.name}: ready {s.ready:.2f} s; " + "; ".join(f"{k} {v.get('iops', 0):.0f}/s p50 {v.get('p50_us', 0)} us p99 {v.get('p99_us', 0)}" + (f" MISMATCH {v['mismatch']}" if v.get("mismatch") else "") for k, v in out["tests"].items()))
    return out


def rss_of(pid):
    try:
        for l in open(f"/proc/{pid}/status"):
            if l.startswith("VmHWM"):
                return int(l.split()[1]) / 1024
    except OSError:
        return None


# ---------------------------------------------------------------------------------------------------- report

def table(head, rows):
    w = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]
    f = lambda r: "| " + " | ".join(str(x).ljust(w[i]) if i == 0 else str(x).rjust(w[i]) for i, x in enumerate(r)) + " |"
    return "\n".join([f(head), "|" + "|".join("-" * (x + 2) if i == 0 else "-" * (x + 1) + ":" for i, x in enumerate(w)) + "|"] + [f(r) for r in rows])


def report(R, a):
    out = []
    m = R["manifest"]
    data = (m["images"]["base"]["granules"] - m["images"]["base"]["holes"]) * 65536
    out.append(f"disk {m['key']['size'] / MB:.0f} MB, of it {data / MB:.0f} MB allocated; days 1..{a.days}: " +
               ", ".join(f"{v['changed'] * 65536 / MB:.0f} MB" for k, v in list(m["days"].items())[:a.days]) +
               f"; clone differs in {m['images']['clone']['differs_from_base'] * 65536 / MB:.0f} MB")
    out.append(f"rounds {a.rounds}; {NCPU} cores; load at start {R['load'][0]:.1f}, at end {os.getloadavg()[0]:.1f}; {R['seconds']:.0f} s in all\n")
    if "limits" in R:
        out.append("## Limits of this machine\n")
        out.append(table(["what", "MB/s", "IOPS"], [[k, f"{v['mb_s']:.0f}" if "mb_s" in v else "-", f"{v['iops']:.0f}" if "iops" in v else ""] for k, v in R["limits"].items()]) + "\n")
    if "nbd" in R:
        N = R["nbd"]
        out.append(f"## NBD reading (window {N['window'] / MB:.0f} MB dense; with delay {N['mid'] / MB:.0f} MB; with rate or 5 ms serial {N['rate'] / MB:.0f} MB; naive 64K a part of it); MB/s median [min..max]; ratio to nbdcopy (default) of the same round\n")
        for label, rs in N["rows"].items():
            rows = []
            ref = rs.get("nbdcopy (default)", [])
            for name, xs in rs.items():
                ratios = [x["mb_s"] / y["mb_s"] for x, y in zip(xs, ref) if x["mb_s"] and y["mb_s"]]
                rows.append([name, summary([x["mb_s"] for x in xs], 0), summary(ratios), f"{med([x['cpu'] / x['bytes'] * 1e9 for x in xs]):.2f}",
                             f"{med([x['srv_cpu'] / x['bytes'] * 1e9 for x in xs]):.2f}", f"{med([x['rss_mb'] for x in xs]):.0f}"])
            order = {n: i for i, n in enumerate(["naive 64K, 1 conn", "naive 1M, 1 conn", "naive 256K, 8 conn", "nbdcopy 1 conn, 1 request", "nbdcopy 1 conn", "nbdcopy (default)", "nbdcopy 8 conn"])}
            rows.sort(key=lambda r: order.get(r[0], 50))
            out.append(f"### {label}\n")
            out.append(table(["reader", "MB/s", "x nbdcopy", "client CPU s/GB", "server CPU s/GB", "RSS MB"], rows) + "\n")
    if "results" in R:
        S = R["results"]
        anchor = next((n for n in S if n == "ceil-64k"), None)

        def ratio(n, kind):
            if not anchor:
                return "-"
            xs = [x["wall"] / y["wall"] for x, y in zip(S[n][kind], S[anchor][kind]) if x.get("rc", 0) == 0 and y["wall"]]
            return summary(xs, 1)

        def cratio(n, kind):
            if not anchor:
                return "-"
            a_, b_ = [x["cpu"] for x in S[n][kind]], [x["cpu"] for x in S[anchor][kind]]
            return f"{med(a_) / med(b_):.1f}" if a_ and b_ and med(b_) else "-"
        ok = lambda x: x and not x.get("rc") and "error" not in x
        if any(S[n]["full"] for n in S):
            rows = []
            for n in S:
                f = [x for x in S[n]["full"] if ok(x)]
                if not f:
                    rows.append([n] + ["failed"] + ["-"] * 8); continue
                rows.append([n, summary([x["wall"] for x in f]), f"{med([data / MB / x['wall'] for x in f]):.0f}", ratio(n, "full"), f"{med([x['cpu'] for x in f]):.2f}", cratio(n, "full"),
                             f"{med([x['srv_cpu'] for x in f]):.2f}", f"{max(x['rss_mb'] for x in f):.0f}", f"{f[-1]['repo'] / MB:.0f}", f"{data / f[-1]['repo']:.2f}"])
            out.append("## Full backup (MB/s of allocated data; x = times ceil-64k of the same round)\n")
            out.append(table(["", "wall s", "MB/s", "x wall", "CPU s", "x CPU", "server CPU s", "RSS MB", "repo MB", "reduction"], rows) + "\n")
        if any(S[n]["incr"] for n in S):
            rows = []
            ch = [v["changed"] * 65536 for v in list(m["days"].values())[:a.days]]
            for n in S:
                f = [x for x in S[n]["incr"] if ok(x)]
                if not f:
                    continue
                starts = [x["start"] for x in f if x.get("start")]
                rows.append([n, "yes" if S[n]["cbt"] else "no", summary([x["wall"] for x in f]), f"{med(starts):.2f}" if starts else "-", ratio(n, "incr"), f"{med([x['cpu'] for x in f]):.2f}", cratio(n, "incr"),
                             f"{med([x['srv_cpu'] for x in f]):.2f}", f"{max(x['rss_mb'] for x in f):.0f}", f"{sum(x['grew'] for x in f) / MB:.0f}", f"{sum(x['grew'] for x in f) / sum(ch[:len(f)]):.2f}",
                             " ".join(f"{x['grew'] / MB:.0f}" for x in f)])
            out.append(f"## Days 1..{a.days} (changed granules: {sum(ch) / MB:.0f} MB in all)\n")
            out.append(table(["", "CBT", "wall s per day", "of it start s", "x wall", "CPU s", "x CPU", "server CPU s", "RSS MB", "grew MB", "grew/changed", "per day"], rows) + "\n")
        for img in ("clone", "sibling"):
            if any(S[n][img] for n in S):
                rows = []
                for n in S:
                    x = S[n][img]
                    if not ok(x):
                        continue
                    f = S[n]["full"][-1]
                    rows.append([n, f"{x['wall']:.2f}", f"{x['wall'] / S[anchor][img]['wall']:.1f}" if anchor and S[anchor][img] else "-", f"{x['cpu']:.2f}", f"{x['grew'] / MB:.0f}", f"{1 - x['grew'] / f['repo']:.0%}"])
                what = "a clone of the template" if img == "clone" else "the same files installed separately"
                out.append(f"## Second VM: {what} (full backup into the same repository)\n")
                out.append(table(["", "wall s", "x wall", "CPU s", "grew MB", "saved by dedup"], rows) + "\n")
        if any(S[n]["restore"] for n in S):
            rows = []
            for n in S:
                f = S[n]["restore"]
                if not f:
                    continue
                rows.append([n, summary([x["wall"] for x in f]), f"{med([data / MB / x['wall'] for x in f]):.0f}", ratio(n, "restore"), f"{med([x['run'] for x in f]):.2f}", f"{med([x['cpu'] for x in f]):.2f}", cratio(n, "restore"),
                             f"{max(x['rss_mb'] for x in f):.0f}", f"{f[-1]['disk'] / MB:.0f}", "identical" if all(x["same"] for x in f) else "DIFFERS"])
            out.append("## Restore of the whole disk, last day, to a raw file (repository in the page cache)\n")
            out.append(table(["", "wall s", "MB/s", "x wall", "before fsync s", "CPU s", "x CPU", "RSS MB", "on disk MB", "check"], rows) + "\n")
        if any(S[n]["random"] for n in S):
            rows = []
            for n in S:
                x = S[n]["random"]
                if not x:
                    continue
                if "error" in x:
                    rows.append([n, "failed: " + x["error"][:60]] + ["-"] * 10); continue
                t = x["tests"]
                g = lambda k, f, nd=0: f"{t[k][f]:.{nd}f}" if f in t.get(k, {}) else "-"
                rows.append([n + (" *" if x.get("own") else ""), f"{x['ready']:.2f}", g("4K cold", "first_us"), g("4K cold", "iops"), g("4K cold", "p50_us"), g("4K cold", "p99_us"), g("64K", "mb_s", 1), g("64K", "p99_us"), g("64K x8", "mb_s", 1), g("4K again", "iops"), f"{x['rss_mb'] or 0:.0f}",
                             "ok" if not any(v.get("mismatch") or "error" in v for v in t.values()) else "WRONG"])
            out.append("## Random reads from the last restore point (repository evicted from the page cache first)\n")
            out.append(table(["", "ready s", "first 4K us", "4K/s cold", "p50 us", "p99 us", "64K MB/s", "64K p99 us", "64K x8 MB/s", "4K/s same again", "RSS MB", "data"], rows) + ("\n* by its own reader, in its own process: no mount and no NBD server in between\n" if any(S[n]["random"] and S[n]["random"].get("own") for n in S) else "\n"))
        if any(S[n]["verify"] for n in S):
            rows = []
            for n in S:
                f = S[n]["verify"]
                if not f:
                    continue
                rows.append([n, summary([x["wall"] for x in f]), f"{med([x['repo'] / MB / x['wall'] for x in f]):.0f}", ratio(n, "verify"), f"{med([x['cpu'] for x in f]):.2f}", cratio(n, "verify"), f"{max(x['rss_mb'] for x in f):.0f}",
                             ("ok" if all(x["rc"] == 0 for x in f) else "FAILED") + (" (" + S[n]["verify_note"].split(":")[0] + ")" if S[n]["verify_note"] else "")])
            out.append("## Verification of the whole repository (MB/s of stored bytes, repository in the page cache)\n")
            out.append(table(["", "wall s", "MB/s", "x wall", "CPU s", "x CPU", "RSS MB", "result"], rows) + "\n")
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--size")
    p.add_argument("--days", type=int)
    p.add_argument("--rounds", type=int)
    p.add_argument("--nbd-rounds", type=int)
    p.add_argument("--phases", help="limits,nbd,full,incr,clone,restore,random,verify")
    p.add_argument("--only", help="these contestants only")
    p.add_argument("--all", action="store_true", help="also the contestants that are off by default")
    p.add_argument("--add", action="append", default=[], help="TOML file of one more contestant")
    p.add_argument("--data")
    p.add_argument("--work")
    p.add_argument("--json")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--report", help="print the tables of an earlier JSON and stop")
    a = p.parse_args()
    a.size = a.size or ("128M" if a.quick else "2G")
    a.bytes = mkimage.parse_size(a.size)
    a.days = a.days if a.days is not None else (1 if a.quick else 3)
    a.rounds = a.rounds or 1
    a.nbd_rounds = a.nbd_rounds or a.rounds
    a.phases = (a.phases or ("limits,nbd,full,incr,restore,random,verify" if a.quick else "limits,nbd,full,incr,clone,restore,random,verify")).split(",")
    a.data = os.path.abspath(a.data or f"{CACHE}/data/{a.size}")
    a.work = os.path.abspath(a.work or f"{CACHE}/scratch/{a.size}")
    if a.report:
        R = json.load(open(a.report))
        for k, v in R["args"].items():
            if k not in ("report",):
                setattr(a, k, v)
        print(report(R, a))
        return
    shutil.rmtree(a.work, ignore_errors=True)
    os.makedirs(a.work + "/tmp")
    global TMP
    TMP = a.work + "/tmp"
    build_tools()
    subprocess.run([sys.executable, HERE + "/mkimage.py", "make", "--dir", a.data, "--size", a.size, "--days", str(a.days if a.quick else 7)] + (["--no-sibling"] if a.quick else []),
                   check=True, stdout=sys.stderr)
    say("disk image ready")
    R = dict(args={k: v for k, v in vars(a).items()}, manifest=json.load(open(a.data + "/manifest.json")), load=os.getloadavg(),
             cpu=next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), ""), started=time.time())
    mkimage.reset(a.data)
    cs = [Contestant(f, a) for f in sorted(glob.glob(HERE + "/contestants/*.toml")) + a.add]
    if a.only:
        cs = [c for n in a.only.split(",") for c in cs if c.name == n]
    elif not a.all:
        cs = [c for c in cs if c.default or any(c.name == tomllib.load(open(f, "rb"))["name"] for f in a.add)]
    try:
        if "limits" in a.phases:
            phase_limits(R, a); say("limits done")
        if "nbd" in a.phases:
            phase_nbd(R, a); say("nbd done")
        if set(a.phases) & {"full", "incr", "clone", "restore", "random", "verify"}:
            phases_backup(R, a, cs)
    finally:
        R["seconds"] = time.time() - T0
        js = a.json or f"{CACHE}/results/{time.strftime('%Y%m%d-%H%M%S')}-{a.size}.json"
        os.makedirs(os.path.dirname(os.path.abspath(js)), exist_ok=True)
        json.dump(R, open(js, "w"), indent=1)
        if not a.keep:
            shutil.rmtree(a.work, ignore_errors=True)
    txt = report(R, a)
    print(txt)
    open(re.sub(r"\.json$", "", js) + ".md", "w").write(txt)
    say("JSON:", js)


def build_tools():
    os.makedirs(BIN, exist_ok=True)
    for name, libs in (("nbdtool", "-lnbd -lpthread"), ("ceil", "-lnbd -lcrypto -lzstd -lpthread"), ("limits", "-lzstd -lpthread")):
        src, dst = f"{HERE}/tools/{name}.c", f"{BIN}/{name}"
        if not os.path.exists(dst) or os.path.getmtime(dst) < os.path.getmtime(src):
            subprocess.run(f"gcc -O3 -march=native -o {dst} {src} {libs}", shell=True, check=True)


if __name__ == "__main__":
    main()
