/* The vocabulary of bert-base-uncased (Google, Apache-2.0), one token a line, put into the program
   as it stands. BLIP_VOCAB_FILE is its path. */
    .section .rodata
    .global blip_bert_base_uncased_vocab
    .hidden blip_bert_base_uncased_vocab
    .type blip_bert_base_uncased_vocab, %object
blip_bert_base_uncased_vocab:
    .incbin BLIP_VOCAB_FILE
    .size blip_bert_base_uncased_vocab, . - blip_bert_base_uncased_vocab
    .global blip_bert_base_uncased_vocab_end
    .hidden blip_bert_base_uncased_vocab_end
blip_bert_base_uncased_vocab_end:
    .byte 0

    .section .note.GNU-stack, "", %progbits
