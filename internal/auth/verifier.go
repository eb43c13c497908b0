package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

const (
	// Iterations is how often a password is hashed for a new verifier: what
	// PostgreSQL takes, so that both ends cost the same.
	Iterations = 4096
	// maxIterations bounds what somebody who can write the configuration makes
	// each login over HTTP cost.
	maxIterations = 10_000_000
	saltSize      = 16  // as PostgreSQL has it
	maxSalt       = 256 // of a verifier from elsewhere
	prefix        = "SCRAM-SHA-256$"
)

// Verifier is what is kept of a password: enough to check it, not enough to log
// in with. The zero value verifies nothing.
type Verifier struct {
	iterations int
	salt       string
	stored     string // StoredKey of RFC 5802
	server     string // ServerKey
}

// ErrVerifier says that a text is not a verifier. It holds nothing of the text.
var ErrVerifier = errors.New("not a verifier of the form SCRAM-SHA-256$4096:salt$StoredKey:ServerKey")

// ParseVerifier reads a verifier as PostgreSQL keeps it in pg_authid.
func ParseVerifier(text string) (Verifier, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	parameters, keys, ok2 := strings.Cut(rest, "$")
	count, salt, ok3 := strings.Cut(parameters, ":")
	stored, server, ok4 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 || !ok4 {
		return Verifier{}, ErrVerifier
	}
	n, err := strconv.ParseUint(count, 10, 32)
	if err != nil || n < 1 || n > maxIterations || len(salt) > base64.StdEncoding.EncodedLen(maxSalt) {
		return Verifier{}, ErrVerifier
	}
	v := Verifier{iterations: int(n)}
	for _, part := range []struct {
		text string
		into *string
		size int // 0: any
	}{{salt, &v.salt, 0}, {stored, &v.stored, sha256.Size}, {server, &v.server, sha256.Size}} {
		b, err := base64.StdEncoding.Strict().DecodeString(part.text)
		if err != nil || len(b) == 0 || part.size > 0 && len(b) != part.size || strings.ContainsAny(part.text, "\r\n") {
			return Verifier{}, ErrVerifier
		}
		*part.into = string(b)
	}
	return v, nil
}

// NewVerifier makes the verifier of a password, with a salt of its own.
func NewVerifier(password string) (Verifier, error) {
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return Verifier{}, err
	}
	return derive(password, string(salt), Iterations)
}

// derive computes a verifier. A password that SASLprep cannot prepare is taken
// as it is, as PostgreSQL does it.
func derive(password, salt string, iterations int) (Verifier, error) {
	// RFC 4013 names U+200B among the spaces and among what is dropped:
	// PostgreSQL makes it a space, the library drops it.
	client, err := scram.SHA256.NewClient("", strings.ReplaceAll(password, "\u200b", " "), "")
	if err != nil {
		if client, err = scram.SHA256.NewClientUnprepped("", password, ""); err != nil {
			return Verifier{}, err
		}
	}
	c, err := client.WithMinIterations(1).GetStoredCredentialsWithError(scram.KeyFactors{Salt: salt, Iters: iterations})
	if err != nil {
		return Verifier{}, fmt.Errorf("derive a verifier: %w", err)
	}
	return Verifier{iterations: iterations, salt: salt, stored: string(c.StoredKey), server: string(c.ServerKey)}, nil
}

// Text returns the verifier as PostgreSQL keeps it. It is a secret: with it,
// passwords can be guessed, and a server pretended to be.
func (v Verifier) Text() string {
	b := base64.StdEncoding
	return prefix + strconv.Itoa(v.iterations) + ":" + b.EncodeToString([]byte(v.salt)) +
		"$" + b.EncodeToString([]byte(v.stored)) + ":" + b.EncodeToString([]byte(v.server))
}

// String hides the verifier from logs.
func (v Verifier) String() string { return "(hidden)" }

// GoString hides the verifier from logs.
func (v Verifier) GoString() string { return "(hidden)" }

// IsZero tells whether there is none.
func (v Verifier) IsZero() bool { return v.iterations == 0 }

// Matches tells whether password is the one that v was made of. It takes as
// long for each password of one length.
func (v Verifier) Matches(password string) bool {
	if v.IsZero() {
		return false
	}
	w, err := derive(password, v.salt, v.iterations)
	return err == nil && subtle.ConstantTimeCompare([]byte(w.stored), []byte(v.stored)) == 1
}

func (v Verifier) credentials() scram.StoredCredentials {
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: v.salt, Iters: v.iterations},
		StoredKey:  []byte(v.stored), ServerKey: []byte(v.server),
	}
}
