"""Names that vulture would call dead: something outside of the code uses them. Never imported.

Listed here is only what `[tool.vulture]` in pyproject.toml cannot say by a decorator or a pattern.
"""

# ruff: noqa: F821, B018

# Loaded by the registry by name.
Browser, Coral, Csi, Demo, GpioLamps, Jetson, JetsonLamps, NoLamps, TensorRT, Usb

# Keys of JSON, TOML, TSV or a database: pydantic and dataclasses read the fields by name.
_.angry, _.disgusted, _.fear, _.happy, _.sad, _.surprised, _.neutral
_.aiming_s, _.blurred, _.bright, _.built_by, _.captured_s, _.deleted_about, _.deletion, _.emotions
(
    _.emotions_raw,
    _.not_readable,
    _.recording,
    _.now_s,
    _.overlay,
    _.quantisation,
    _.sampling,
    _.schema_version,
    _.strain,
)

# Templates and other programs read them.
_.mistake, _.todo
_.logged_out  # flask.g
_.WORKER, _.CAMERA  # fields of the journal

# Libraries call or read them: ssl, sqlite3, Pillow, numpy, PyAV, Flask, reportlab, Prometheus.
_.wsgi_app, _.request_class, _._get_file_stream
_.MAX_IMAGE_PIXELS, _.fontName, _.num_tickets, _.row_factory, _.sort_keys, _.text_factory, _.thread_count
_.collect, _.writeable, _.writelines

# Scripts in models/build and tests use them.
measure_quality, notice_as_markdown, record_answers
UNDO_STEPS
_.decoder_messages, _.under_way
