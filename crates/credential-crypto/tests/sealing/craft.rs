//! Messages that plain AES-GCM opens under two keys.

use aes_gcm::KeyInit;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;

/// Key and nonce.
pub type Pair = ([u8; 32], [u8; 12]);

/// Multiplies in GF(2^128) as NIST SP 800-38D, section 6.3, writes blocks: the first bit is the coefficient of x^0.
fn multiply(left: u128, right: u128) -> u128 {
    let (mut product, mut power) = (0, right);
    for bit in (0..128).rev() {
        if left >> bit & 1 == 1 {
            product ^= power;
        }
        let carry = power & 1;
        power = (power >> 1) ^ (carry * (0xE1 << 120));
    }
    product
}

fn power(base: u128, exponent: u128) -> u128 {
    let (mut result, mut square) = (1 << 127, base);
    for bit in 0..128 {
        if exponent >> bit & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
    }
    result
}

/// By Fermat: the group of units has 2^128 - 1 elements.
fn inverse(element: u128) -> u128 {
    power(element, u128::MAX - 1)
}

fn blocks(bytes: &[u8]) -> Vec<u128> {
    let block = |chunk: &[u8]| {
        let mut block = [0; 16];
        block[..chunk.len()].copy_from_slice(chunk);
        u128::from_be_bytes(block)
    };
    bytes.chunks(16).map(block).collect()
}

/// The authentication key, and the mask of the tag.
fn hash_key_and_mask((key, nonce): &Pair) -> (u128, u128) {
    let cipher = Aes256::new(key.into());
    let encrypt = |block: [u8; 16]| {
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    };
    let mut counter = [0; 16];
    counter[..12].copy_from_slice(nonce);
    counter[15] = 1;
    (encrypt([0; 16]), encrypt(counter))
}

/// A ciphertext of `length` bytes, a multiple of 16, and a tag that is right under both pairs.
///
/// With h the hash key, m the mask and L the block of lengths, the tag of the blocks c_1..c_n, those of `aad` first, is
/// m + L h + sum of c_i h^(n - i + 2). All blocks but the first of the ciphertext are free; equating both tags is one
/// linear equation for that one.
pub fn craft(pairs: &[Pair; 2], aad: &[u8], length: usize) -> (Vec<u8>, [u8; 16]) {
    let [left, right] = pairs.each_ref().map(hash_key_and_mask);
    let aad_blocks = blocks(aad);
    let lengths = ((aad.len() as u128 * 8) << 64) | (length as u128 * 8);
    let tag = |ciphertext: &[u128], (hash, mask): (u128, u128)| {
        let all = aad_blocks.iter().chain(ciphertext);
        let sum = all.fold(0, |sum, block| multiply(sum ^ block, hash));
        multiply(sum ^ lengths, hash) ^ mask
    };
    let mut random = vec![0; length];
    getrandom::fill(&mut random).unwrap();
    let mut ciphertext = blocks(&random);
    ciphertext[0] = 0;
    let difference = tag(&ciphertext, left) ^ tag(&ciphertext, right);
    let exponent = ciphertext.len() as u128 + 1;
    let factor = power(left.0, exponent) ^ power(right.0, exponent);
    ciphertext[0] = multiply(difference, inverse(factor));

    let both = [left, right].map(|keys| tag(&ciphertext, keys));
    assert_eq!(both[0], both[1]);
    let bytes = ciphertext.iter().flat_map(|block| block.to_be_bytes()).collect();
    (bytes, both[0].to_be_bytes())
}
