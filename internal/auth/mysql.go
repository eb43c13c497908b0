package auth

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
)

// Scramble is a client's answer to a nonce, as MySQL's mysql_native_password
// and caching_sha2_password have it.
type Scramble struct {
	SHA2   bool // caching_sha2_password
	Nonce  []byte
	Answer []byte
}

// twice is what is kept of a password to check a Scramble: its hash's hash, as
// MySQL keeps it. A verifier does not hold it, so only a password in a file has
// one.
type twice struct {
	set  bool
	sha1 [sha1.Size]byte
	sha2 [sha256.Size]byte
}

func twiceOf(password string) twice {
	if password == "" {
		return twice{}
	}
	one, two := sha1.Sum([]byte(password)), sha256.Sum256([]byte(password))
	return twice{set: true, sha1: sha1.Sum(one[:]), sha2: sha256.Sum256(two[:])}
}

// LoginScrambled checks a user whose password stands in a file. Whoever has
// only a verifier, needs a certificate or does not exist is refused like one
// who does not know the password, with the same work.
func (p *Policy) LoginScrambled(name string, s Scramble) (Who, bool) {
	kept := twice{sha1: [sha1.Size]byte(p.derived("sha1", name)), sha2: [sha256.Size]byte(p.derived("sha2", name))}
	if u := p.users[name]; u != nil && u.twice.set && u.mayConnect("") {
		kept = u.twice
	}
	var right bool
	if s.SHA2 {
		right = s.matchesSHA2(kept.sha2)
	} else {
		right = s.matchesSHA1(kept.sha1)
	}
	if !right || !kept.set {
		return Who{}, false
	}
	return Who{name: name}, true
}

// matchesSHA1 undoes SHA1(password) XOR SHA1(nonce, SHA1(SHA1(password))).
func (s Scramble) matchesSHA1(kept [sha1.Size]byte) bool {
	if len(s.Answer) != sha1.Size {
		return false
	}
	mask := sha1.Sum(append(append([]byte(nil), s.Nonce...), kept[:]...))
	subtle.XORBytes(mask[:], mask[:], s.Answer)
	found := sha1.Sum(mask[:])
	return subtle.ConstantTimeCompare(found[:], kept[:]) == 1
}

// matchesSHA2 undoes SHA256(password) XOR SHA256(SHA256(SHA256(password)), nonce).
func (s Scramble) matchesSHA2(kept [sha256.Size]byte) bool {
	if len(s.Answer) != sha256.Size {
		return false
	}
	mask := sha256.Sum256(append(append([]byte(nil), kept[:]...), s.Nonce...))
	subtle.XORBytes(mask[:], mask[:], s.Answer)
	found := sha256.Sum256(mask[:])
	return subtle.ConstantTimeCompare(found[:], kept[:]) == 1
}
