"""Pictures: a moving skeleton as GIF or PNG (`stick_figure`, its bytes in `gif`, its words in `lettering`), and the
figures of logs and reports (`figures`).
"""
