"""The field's evaluation protocol: evaluators, tables of numbers, reports, comparisons.

The files build on each other in this order:

    labels                                  names of all metrics
    word_vectors, clips, qualities          words, which clips count, values of one clip
    networks, published, evaluators         the networks that embed text and motion, and their files
    evaluator_training                      trains an evaluator
    protocol                                what a repeat draws, rows of the table
    reconstruction                          measures a motion tokenizer
    model_answers, perplexity, t2m_m2t      ask a language model, and measure it in both directions
    continuous                              the same tables for a model without tokens
    token_writing                           measures it by the codes it writes, without motions
    completion, given_codes                 prediction and in-betweening against the real motion
    action_naming                           whether a written sentence names the action of a clip
    markdown, report_markdown, report       write an evaluation as Markdown and files
    intervals, comparison                   two evaluations side by side
"""
