"""Floor 5: the page in the browser, served from this machine and asking nothing of any other.

`server.py` puts together `guard.py` (who may ask, and what a page may load), `uploads.py` (photos from a form to
memory, within limits), `engine.py` (photos to answers, in one thread), `pages.py` (answers to HTML) and `keeping.py`
(answers to a folder, where the user named one). Needs the extra `app`.
"""
