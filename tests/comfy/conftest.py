"""Real ComfyUIs are tried where COMFYUI_DIR names some."""

import os

collect_ignore = (
    [] if os.environ.get("COMFYUI_DIR") else ["test_real_comfy.py", "test_real_others.py"]
)
