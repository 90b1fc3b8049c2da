"""Pictures: one motion or several as GIF, MP4 or PNG (`pictures`) and as a page (`html`), and the figures of logs and
reports (`figures`).

A `view.Shown` goes in. A look is a `scene.Scene`: `stick_figure`, `body_look` and `mesh_scene`.
"""
