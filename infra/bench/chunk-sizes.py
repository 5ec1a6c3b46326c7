#!/usr/bin/python3
"""What chunks of 128 KiB to 4 MiB cost when little changes: a clustered change, the same amount scattered, and
the data set's own day.  Prints a table; docs/decisions has the conclusions.

  chunk-sizes.py [--data DIR] [--chunks 128,256,512,1024,4096] [--areas 655]

Needs a data set (mkimage.py make --dir DIR …) and a built engine (make engine).  Changed areas are granules of 64 KiB,
as changed block tracking reports them, a third of each of noise and the rest as it was.
"""
import argparse, json, os, random, shutil, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
GRANULE = 64 << 10
MB = 1e6


def main():
    p = argparse.ArgumentParser()
    cache = os.environ.get("SENDENSE_CACHE") or (os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) + "/sendense"
    p.add_argument("--data", default=cache + "/bench/data-2G")
    p.add_argument("--chunks", default="128,256,512,1024,4096")
    p.add_argument("--areas", type=int, default=655)
    a = p.parse_args()
    print("| chunk | change | areas changed MB | read MB | new MB | stored MB | repository grew MB | grew / changed | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=os.path.dirname(a.data)) as work:
        for kib in map(int, a.chunks.split(",")):
            measure(a, kib, f"{work}/{kib}")


def measure(a, kib, work):
    os.makedirs(work)
    disk = work + "/disk.raw"
    subprocess.run(["cp", "--sparse=always", a.data + "/base.raw", disk], check=True)
    size = os.path.getsize(disk)
    env = dict(os.environ, SENDENSE_BENCH_PASSWORD="benchmark-only", SENDENSE_BENCH_CHUNK_BYTES=str(kib << 10), SIZE=str(size))
    socket = work + "/nbd.sock"
    nbdkit = subprocess.Popen(["nbdkit", "-f", "-r", "-U", socket, "file", disk])
    try:
        while not os.path.exists(socket):
            time.sleep(0.02)
        pipeline = lambda *args: run(env, *args)
        pipeline("init", work + "/repo", work)
        uri = f"nbd+unix:///?socket={socket}"
        pipeline("backup", work + "/repo", work, uri, "vm1", "full", a.data + "/base.alloc")
        points = ["full"]
        for name, extents in changes(a, size):
            changed = write(disk, extents, seed=name)
            with open(work + "/extents", "w") as f:
                f.writelines(f"{offset} {length}\n" for offset, length in extents)
            before, begin = usage(work + "/repo"), time.monotonic()
            node, _ = pipeline("backup", work + "/repo", work, uri, "vm1", name, work + "/extents", points[-1])
            seconds, grew = time.monotonic() - begin, usage(work + "/repo") - before
            points.append(name)
            print(f"| {kib} KiB | {name} | {changed / MB:.0f} | {node['readBytes'] / MB:.0f} | {node['newBytes'] / MB:.0f} | {node['storedBytes'] / MB:.0f} | {grew / MB:.0f} | {grew / changed:.2f} | {seconds:.2f} |", flush=True)
    finally:
        nbdkit.terminate()
        nbdkit.wait()
    shutil.rmtree(work)


def changes(a, size):
    """Names and extents. The areas lie where there is data."""
    allocated = [tuple(map(int, line.split())) for line in open(a.data + "/base.alloc")]
    granules = [g for offset, length in allocated for g in range(offset // GRANULE, (offset + length) // GRANULE)]
    rng = random.Random(4)
    scattered = sorted(rng.sample(granules, min(a.areas, len(granules) // 2)))
    runs = set()
    while len(runs) < len(scattered):
        start = rng.randrange(len(granules) - 64)
        runs.update(granules[start:start + 64])
    clustered = sorted(runs)[:len(scattered)]
    day = [tuple(map(int, line.split())) for line in open(a.data + "/day1.extents")]
    return [("clustered", [(g * GRANULE, GRANULE) for g in clustered]), ("scattered", [(g * GRANULE, GRANULE) for g in scattered]), ("day", day)]


def write(disk, extents, seed):
    rng = random.Random(seed)
    with open(disk, "r+b") as f:
        for offset, length in extents:
            for granule in range(offset, offset + length, GRANULE):
                f.seek(granule)
                f.write(rng.randbytes(GRANULE // 3))
    return sum(length for _, length in extents)


def run(env, *args):
    r = subprocess.run(["node", HERE + "/pipeline/main.ts", *args], env=env, capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stderr[-2000:])
    return [json.loads(line) for line in r.stdout.splitlines() if line.startswith("{")]


def usage(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(path) for f in fs)


main()
