#!/usr/bin/env python3
"""One bench of culvert-bench on a size that says nothing: it runs, what arrived
is what was shared, and its keys are there. Figures are for docs/performance.md."""
import json
import subprocess
import sys

CARRIED = ["hops", "streams", "mb_per_s", "cpu_s_per_gb", "start_ms_median", "start_ms_max",
           "first_octet_ms_median"]
KEYS = {
    "ppsp": ["mib_per_s", "cpu_s_per_gib", "cpu_s_per_gib_seeder", "rate_ratio", "cpu_ratio", "rss_mib_seeder", "rss_mib_viewer", "first_chunk_ms"],
    "tunnel": CARRIED + ["circuits", "circuit_hops", "circuit_mb_per_s", "build_ms_median", "build_ms_max", "path_rtt_ms_median",
                         "first_octet_rtts_median"],
    "hidden": CARRIED,
    "ledger": ["import_s_1e6", "import_cpu_s_1e6", "cold_rank_cpu_s_1e6", "import_single_s_1e6", "cold_rank_s_1e6", "cold_open_s_1e6", "rerank_ms", "gate_us",
               "flow_ms", "maxflow_s", "octets_per_record", "durable_records_per_s", "signed_per_s",
               "verified_per_s", "walk_ms", "ppr_ms"],
    "dht": ["queries_per_s_engine", "queries_per_s_loopback", "rss_mib_full", "answered_percent_engine",
            "answered_percent_loopback", "hashes", "peers", "items", "table", "queries"],
    "relay": ["cells_per_s_per_core", "cells_per_s_per_core_few", "forward_us", "backward_us",
              "bytes_per_circuit", "rss_mib_50k", "cost_ratio_50k", "cost_ratio_50k_scattered",
              "two_worker_speedup", "two_worker_cpu_ratio", "two_process_speedup",
              "two_process_cpu_ratio"],
    "gateway": ["mb_per_s", "cpu_s_per_gib", "slow_readers", "rss_mib"],
    "sim": ["node_hours_per_cpu_minute", "node_hours_per_cpu_minute_idle"],
}
COUNTED = ["datagrams_in", "datagrams_out", "calls_in", "calls_out", "buffer_in", "buffer_out"]
DESCRIBED = ["commit", "suite", "kernel", "cores"]


def main():
    program, name, *more = sys.argv[1:]
    run = subprocess.run([program, name, "--json", *more], stdout=subprocess.PIPE, timeout=280)
    if run.returncode != 0:
        sys.exit(f"culvert-bench {name}: status {run.returncode}")
    said = json.loads(run.stdout)
    for key in KEYS[name]:
        if not isinstance(said.get(key), (int, float)) or said[key] <= 0:
            sys.exit(f"culvert-bench {name}: {key} is {said.get(key)!r}")
    for key in DESCRIBED:
        if not said.get(key):
            sys.exit(f"culvert-bench {name}: {key} is missing")
    for key in COUNTED if name in ("ppsp", "tunnel", "hidden") else []:
        if said["counts"].get(key, 0) <= 0:
            sys.exit(f"culvert-bench {name}: counts has no {key}")
    if name in ("tunnel", "hidden") and said["counts"].get("cells_relayed", 0) <= 0:
        sys.exit(f"culvert-bench {name}: counts has no cells_relayed")
    if name == "gateway" and not isinstance(said.get("slow_readers_extra_mib"), float):
        sys.exit("culvert-bench gateway: slow_readers_extra_mib is missing")
    if name in ("tunnel", "hidden") and said["hops"] != {"tunnel": 3, "hidden": 6}[name]:
        sys.exit(f"culvert-bench {name}: {said['hops']} hops")
    if "--hops" in more and said["circuit_hops"] != int(more[more.index("--hops") + 1]):
        sys.exit(f"culvert-bench {name}: circuits of {said['circuit_hops']} hops")
    if name != "tunnel":
        refused = subprocess.run([program, name, "--hops", "4"], capture_output=True, text=True)
        why = {"hidden": "a hidden film goes over 3 hops of its viewer's, of which the last is the "
                         "meeting point, and 3 more of its seeder's"}.get(name, "for 'tunnel' alone")
        if refused.returncode != 2 or why not in refused.stderr:
            sys.exit(f"culvert-bench {name} --hops: {refused.returncode} {refused.stderr}")
    print(f"{name}: keys are there")


main()
