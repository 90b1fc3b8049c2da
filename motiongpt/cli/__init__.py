"""What the scripts share. Modules of the second group import torch, so scripts import them inside functions.

parser          flags from configs, the values they settle, one-line errors, exit codes
environment     environment variables, which flags override
opening         the run, tokenizer, data set or motion file that flags name
prepare_flags   the flags of prepare.py
evaluate_flags  the flags of evaluate.py
prompts         sentences of --prompt, and where their motions go
assets          the table of assets.py

stages          the life of a training stage: finetune.py and train_vqvae.py
run_info        what a run knows, as text: sample.py
pictures        what render.py draws, and where
"""
