def test_x(tiny):
    import os
    os.system(f"cd {tiny.folder}; find . -type f | xargs ls -la; cat run/config.json; head -c 300 run/prompts.json; cat run/stage1/*_config.json run/stage1/meta.json")
