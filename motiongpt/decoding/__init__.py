"""The language model as it writes: `DecodingLLM` is `llm.LLM` for the sampler, in fewer and larger operations."""

from motiongpt.decoding.model import DecodingLLM as DecodingLLM
