#!/usr/bin/env bash
# A TDMS file whose recording was resumed: npTDMS gives all readings the clock of the last recording.
#
# Guess: a channel's times follow its recordings, with the pause between them; or a file with several starts is refused.
# Seen, npTDMS 1.13.0: five readings from 08:00:00 on, then five more from 09:00:00 on, in a second segment of the same
# file that writes `wf_start_time` anew. `time_track(absolute_time=True)` and `as_dataframe(time_index=True,
# absolute_time=True)` count all ten from 09:00:00, one a second: the first five are an hour late, and the pause is gone.
# Properties of a channel are merged, the last one written counts; `data_chunks` shows the merged ones as well.
# A TDMS file is appended to segment by segment, so every prefix that ends with a segment is a file, and the properties
# of the prefixes are the start of each recording. That is read below with the public interface.
#
# Needs a Python of 3.11 or later and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv environment
environment/bin/pip install --quiet 'npTDMS==1.13.0' 'numpy==2.4.6'
environment/bin/python - <<'PY'
import io

import numpy as np
from nptdms import ChannelObject, TdmsFile, TdmsWriter

first, hour = np.datetime64("2026-01-01T08:00:00"), np.timedelta64(3600, "s")
for start, values, mode in ((first, np.arange(5.0), "w"), (first + hour, np.arange(100.0, 105.0), "a")):
    clock = {"wf_start_time": start, "wf_start_offset": 0.0, "wf_increment": 1.0}
    with TdmsWriter("measured.tdms", mode=mode) as file:
        file.write_segment([ChannelObject("machine", "temp", values, properties=clock)])

channel = TdmsFile.read("measured.tdms")["machine"]["temp"]
track = [str(t)[11:19] for t in channel.time_track(absolute_time=True)]
print("time_track:", *track)

data, end, starts = open("measured.tdms", "rb").read(), 0, []
while end < len(data):
    end += 28 + int.from_bytes(data[end + 12 : end + 20], "little")
    with TdmsFile.read_metadata(io.BytesIO(data[:end])) as prefix:
        channel = prefix["machine"]["temp"]
        starts.append((str(channel.properties["wf_start_time"])[11:19], len(channel)))
print("starts of the prefixes, and readings up to there:", *starts)
late = [f"09:00:0{second}" for second in range(10)]
raise SystemExit(0 if track == late and starts == [("08:00:00", 5), ("09:00:00", 10)] else "this has changed")
PY
