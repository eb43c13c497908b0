package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Hash is what is kept of a token. A token is random enough that guessing the
// one behind a hash is hopeless, so there is neither salt nor iteration.
type Hash [sha256.Size]byte

const (
	tokenMark  = "holdfast_" // so that a scanner of leaked secrets can tell one
	tokenBytes = 32
	hashMark   = "sha256:"
)

// ErrHash says that a text is not the hash of a token.
var ErrHash = errors.New("not a hash of the form sha256: and 64 hexadecimal digits")

// NewToken makes a token of 256 random bits.
func NewToken() (string, error) {
	b := make([]byte, tokenBytes)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return tokenMark + base64.RawURLEncoding.EncodeToString(b), nil
}

// HashOf returns what is kept of a token.
func HashOf(token string) Hash { return sha256.Sum256([]byte(token)) }

// ParseHash reads what Hash.String writes.
func ParseHash(text string) (h Hash, err error) {
	digits, ok := strings.CutPrefix(text, hashMark)
	if !ok || len(digits) != hex.EncodedLen(len(h)) {
		return h, ErrHash
	}
	if _, err := hex.Decode(h[:], []byte(digits)); err != nil {
		return Hash{}, ErrHash
	}
	return h, nil
}

// String returns the hash as a configuration has it.
func (h Hash) String() string { return hashMark + hex.EncodeToString(h[:]) }
