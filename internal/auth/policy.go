package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"path"
	"sync/atomic"

	"holdfast/internal/fault"
)

// User is one who may log in. With a Verifier it needs the password, with a
// Certificate a client certificate of that common name, with both, both.
type User struct {
	Name        string
	Verifier    Verifier
	Password    string // instead of a Verifier, which is then derived from it
	Certificate string
	Grants      []string // tables that it may write to, as path.Match has patterns
	Console     bool     // whether it may see how the server is

	twice twice // of Password
}

// Token is one who may use HTTP.
type Token struct {
	Name   string
	Hash   Hash
	Grants []string
}

// Policy says who may do what. It does not change.
type Policy struct {
	users      map[string]*User
	tokens     []Token
	secret     []byte
	iterations int // of a verifier for somebody who does not exist
}

// NewPolicy makes a Policy. secret is known to nobody outside and is the same at
// each start: from it come the salts of users who do not exist, which would
// else change while those of others stay.
func NewPolicy(secret []byte, users []User, tokens []Token) (*Policy, error) {
	p := &Policy{users: make(map[string]*User, len(users)), tokens: tokens, secret: secret, iterations: Iterations}
	counts := map[int]int{}
	for _, u := range users {
		if u.Password != "" && u.Verifier.IsZero() {
			v, err := derive(u.Password, p.salt(u.Name), Iterations)
			if err != nil {
				return nil, err
			}
			u.Verifier = v
			u.twice = twiceOf(u.Password)
		}
		u.Password = ""
		p.users[u.Name] = &u
		if n := u.Verifier.iterations; n > 0 {
			// Somebody who does not exist looks like most who do.
			if counts[n]++; counts[n] > counts[p.iterations] || counts[p.iterations] == 0 {
				p.iterations = n
			}
		}
	}
	return p, nil
}

// Open tells whether nobody is configured, so that everybody may do everything.
func (p *Policy) Open() bool { return p == nil || len(p.users) == 0 && len(p.tokens) == 0 }

// derived returns bytes for a name that look random to who lacks the secret.
func (p *Policy) derived(use, name string) []byte {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(use + "\x00" + name))
	return mac.Sum(nil)
}

func (p *Policy) salt(name string) string { return string(p.derived("salt", name)[:saltSize]) }

// verifier returns the user's verifier, or one that nothing matches; and whether
// it is the user's. Both are the same work.
func (p *Policy) verifier(u *User, name string) (Verifier, bool) {
	mock := Verifier{
		iterations: p.iterations, salt: p.salt(name),
		stored: string(p.derived("stored key", name)), server: string(p.derived("server key", name)),
	}
	if u == nil || u.Verifier.IsZero() {
		return mock, false
	}
	return u.Verifier, true
}

// Login checks a user's password, as HTTP sends it; certificate is the common
// name of a client certificate that was verified, "" without one. Somebody who
// does not exist costs as much as somebody who does.
func (p *Policy) Login(name, password, certificate string) (Who, bool) {
	u := p.users[name]
	v, real := p.verifier(u, name)
	if !v.Matches(password) || !real || !u.mayConnect(certificate) {
		return Who{}, false
	}
	return Who{name: name}, true
}

// mayConnect tells whether the client certificate is the one that u needs.
func (u *User) mayConnect(certificate string) bool {
	return u.Certificate == "" || u.Certificate == certificate
}

// ByCertificate returns the user whose certificate alone lets it in.
func (p *Policy) ByCertificate(certificate string) (Who, bool) {
	if certificate == "" {
		return Who{}, false
	}
	for name, u := range p.users {
		if u.certified(certificate) {
			return Who{name: name}, true
		}
	}
	return Who{}, false
}

// certified tells whether the certificate is enough for u.
func (u *User) certified(certificate string) bool {
	return u.Certificate != "" && u.Certificate == certificate && u.Verifier.IsZero()
}

// ByToken returns whose token it is. It compares with each of them, and takes
// as long whichever matches.
func (p *Policy) ByToken(token string) (Who, bool) {
	h, found := HashOf(token), -1
	for i := range p.tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(h[:], p.tokens[i].Hash[:]), i, found)
	}
	if found < 0 {
		return Who{}, false
	}
	return Who{name: p.tokens[found].Name, hash: p.tokens[found].Hash}, true
}

// Who is somebody who was let in. The zero value is nobody, who may do
// everything under an open Policy and nothing under any other.
type Who struct {
	name string
	hash Hash // of the token; zero for a user
}

// Name returns what the configuration calls it; "" for nobody.
func (w Who) Name() string { return w.name }

// grants returns what w may write to now: a user or a token that has gone from
// the configuration may write to nothing.
func (p *Policy) grants(w Who) []string {
	if w.hash == (Hash{}) {
		if u := p.users[w.name]; u != nil && w.name != "" {
			return u.Grants
		}
		return nil
	}
	for i := range p.tokens {
		if p.tokens[i].Name == w.name && p.tokens[i].Hash == w.hash {
			return p.tokens[i].Grants
		}
	}
	return nil
}

// Allow returns nil where w may write to table, and else a refusal, which is
// the same whether the table exists or not.
func (p *Policy) Allow(w Who, table string) error {
	if p.Open() {
		return nil
	}
	for _, g := range p.grants(w) {
		if ok, err := path.Match(g, table); g == table || ok && err == nil {
			return nil
		}
	}
	return fault.New(fault.InsufficientPrivilege, "permission denied for table %s", table).
		WithHint("grants of users and tokens stand in the server's configuration")
}

// AllowConsole returns nil where w may see how the server is.
func (p *Policy) AllowConsole(w Who) error {
	if p.Open() {
		return nil
	}
	if u := p.users[w.name]; u != nil && w.name != "" && w.hash == (Hash{}) && u.Console {
		return nil
	}
	return fault.New(fault.InsufficientPrivilege, "permission denied for database \"holdfast\", which is the console").
		WithHint("rows are written on a database of any other name; for the console the user needs console: true in the server's configuration")
}

// Guard holds the Policy in force. It is safe for concurrent use; the zero value
// is open.
type Guard struct {
	policy   atomic.Pointer[Policy]
	Failures Failures // of logins, by address
}

// Policy returns the one in force; it is not nil.
func (g *Guard) Policy() *Policy {
	if g != nil {
		if p := g.policy.Load(); p != nil {
			return p
		}
	}
	return open
}

var open = &Policy{}

// Set puts p in force, for sessions that are open too.
func (g *Guard) Set(p *Policy) { g.policy.Store(p) }
