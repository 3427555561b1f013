"""A process that renders some of the toy videos; `videos.render_missing` starts several.

    echo 17 | python -m input_pipeline.datasets.toy_actions.render_worker SOURCE SEED

Takes indices of videos on stdin, one a line, and prints each when its file is there; or, at last, "error: REASON".
"""

import sys
from pathlib import Path

from input_pipeline.datasets.toy_actions import videos

if __name__ == "__main__":
  source, seed = Path(sys.argv[1]), int(sys.argv[2])
  for line in sys.stdin:
    try:
      videos.render(source, seed, int(line))
    except OSError as error:
      print(f"{videos.ERROR}{error}", flush=True)
      sys.exit(1)
    print(line.strip(), flush=True)
