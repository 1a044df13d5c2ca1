/* What the rest of this folder asks of aes.c. Private to it. */
#ifndef CULVERT_CRYPTO_AES_PRIV_H
#define CULVERT_CRYPTO_AES_PRIV_H

/* Called by cv_crypto_init(). */
void cv_aes_init(void);
void cv_aes_thread_done(void);

/* No key is left in this thread's contexts. */
void cv_aes_forget(void);

#endif
