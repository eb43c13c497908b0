package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unicode"

	"holdfast/internal/auth"
	"holdfast/internal/certs"
)

// User is one who may log in, by the name that it has in the file.
type User struct {
	Verifier     Verifier   `yaml:"verifier" omit:"zero" doc:"What is kept of the password, as PostgreSQL keeps it in pg_authid; holdfast config verifier makes one."`
	PasswordFile string     `yaml:"password_file" doc:"A file that holds the password, instead of a verifier; nobody but its owner may read it."`
	Certificate  CommonName `yaml:"certificate" doc:"Common name of the client certificate that the user must show; with a verifier, the password is needed too."`
	Grants       []Glob     `yaml:"grants" doc:"Tables that the user may write to; none when left out."`
	Console      bool       `yaml:"console" doc:"Whether the user may connect to the database holdfast, the console, which shows how the server is."`
}

// Token is one who may use HTTP, by the name that it has in the file.
type Token struct {
	Hash   Hash   `yaml:"hash" omit:"zero" doc:"SHA-256 of the token; holdfast config token makes both."`
	Grants []Glob `yaml:"grants" doc:"Tables that the token may write to; none when left out."`
}

// TLS says how connections are encrypted.
type TLS struct {
	Cert     string `yaml:"cert" doc:"The server's certificate and those that sign it, in PEM; read again when it changes."`
	Key      string `yaml:"key" doc:"The certificate's key, in PEM; not everybody may read it."`
	ClientCA string `yaml:"client_ca" doc:"Certificates that sign those of clients, in PEM."`
}

// On tells whether connections can be encrypted.
func (t TLS) On() bool { return t.Cert != "" }

// Files returns the files of t.
func (t TLS) Files() certs.Files { return certs.Files{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA} }

// hidden stands for a secret in what Print writes. It can be loaded, so that a
// print can be looked at by a program; Check refuses it.
const hidden = "(hidden)"

// Verifier is what is kept of a password. Printing hides it.
type Verifier struct {
	auth.Verifier
	hidden bool
}

func (v *Verifier) scan(text string) error {
	if text == hidden {
		*v = Verifier{hidden: true}
		return nil
	}
	is, err := auth.ParseVerifier(text)
	if err != nil { // which does not repeat the text: it may be the password itself
		return wrong("holdfast config verifier makes one; PostgreSQL has them in pg_authid.rolpassword", "the verifier is %s", err)
	}
	*v = Verifier{Verifier: is}
	return nil
}

func (*Verifier) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": `^(SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+|\(hidden\))$`}
}

// reveal returns what is compared where values are.
func (v Verifier) reveal() string { return v.Text() }

// Hash is what is kept of a token.
type Hash struct{ auth.Hash }

func (h *Hash) scan(text string) error {
	is, err := auth.ParseHash(text)
	if err != nil { // likewise
		return wrong("holdfast config token makes one", "the hash is %s", err)
	}
	h.Hash = is
	return nil
}

func (*Hash) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$"}
}

// CommonName is the name in a certificate.
type CommonName string

func (n *CommonName) scan(text string) error {
	if text == "" || len(text) > 255 || strings.ContainsFunc(text, unicode.IsControl) {
		return wrong("", "%q cannot be the common name of a certificate", text)
	}
	*n = CommonName(text)
	return nil
}

func (*CommonName) shape() map[string]any {
	return map[string]any{"type": []string{"string", "integer", "boolean"}, "minLength": 1}
}

// loopback tells whether only this machine reaches the address.
func (a Address) loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// judgeAccess sees that nobody writes from outside who has not said who he is.
func (c *Config) judgeAccess(add report) {
	const outside = "address %q can be reached from outside, where nobody may come in unknown, and "
	if !c.Listen.PG.loopback() && len(c.Users) == 0 {
		add("listen.pg", `add "users:" (holdfast config verifier), or listen on 127.0.0.1`, outside+"there are no users", string(c.Listen.PG))
	}
	if c.Listen.MySQL != "" && !c.Listen.MySQL.loopback() && len(c.Users) == 0 {
		add("listen.mysql", `add "users:" (holdfast config verifier), or listen on 127.0.0.1`, outside+"there are no users", string(c.Listen.MySQL))
	}
	switch {
	case c.Listen.HTTP.loopback():
	case len(c.Users) == 0 && len(c.Tokens) == 0:
		add("listen.http", `add "tokens:" (holdfast config token), or listen on 127.0.0.1`, outside+"there are neither users nor tokens", string(c.Listen.HTTP))
	case !c.TLS.On():
		add("listen.http", `add "tls: {cert: FILE, key: FILE}", or listen on 127.0.0.1`, outside+"tokens would cross the network unencrypted", string(c.Listen.HTTP))
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		add("tls", "add the other one", "tls needs both a cert and a key")
	}
	if c.TLS.ClientCA != "" && !c.TLS.On() {
		add("tls.client_ca", "add cert and key", "clients cannot show certificates without TLS")
	}
	shown := map[CommonName]string{}
	for _, name := range names(c.Users) {
		u, key := c.Users[name], "users."+name
		switch {
		case u.Verifier == (Verifier{}) && u.PasswordFile == "" && u.Certificate == "":
			add(key, "add a verifier (holdfast config verifier), a password_file or a certificate", "user %q has nothing to log in with", name)
		case u.Verifier != (Verifier{}) && u.PasswordFile != "":
			add(key+".password_file", "remove one of them", "user %q has both a verifier and a password_file", name)
		case u.Certificate != "" && c.TLS.ClientCA == "":
			add(key+".certificate", `add "client_ca" to "tls"`, "user %q needs a certificate, and none is asked for", name)
		}
		if other, twice := shown[u.Certificate]; twice && u.Certificate != "" {
			add(key+".certificate", "give each its own", "users %q and %q have the same certificate", other, name)
		}
		shown[u.Certificate] = name
	}
	for _, name := range names(c.Tokens) {
		if c.Tokens[name].Hash == (Hash{}) {
			add("tokens."+name, "add a hash (holdfast config token)", "token %q has no hash", name)
		}
	}
}

// checkAccess looks at the files that users and TLS name.
func (c *Config) checkAccess(bad report) {
	secrets := false
	for _, name := range names(c.Users) {
		u, key := c.Users[name], "users."+name
		secrets = secrets || !u.Verifier.IsZero()
		if u.Verifier.hidden {
			bad(key+".verifier", "copy it from the file that was printed", "the verifier of user %q was hidden by a print", name)
		}
		if u.PasswordFile != "" {
			checkSecret(bad, key+".password_file", "password_file", u.PasswordFile)
		}
	}
	if info, err := os.Stat(c.Path); secrets && err == nil && info.Mode().Perm()&0o007 != 0 {
		bad("users", "chmod o= it", "%q holds verifiers, with which passwords can be guessed, and everybody may read it (mode %04o)", c.Path, info.Mode().Perm())
	}
	if c.TLS.On() {
		if _, err := certs.Load(c.TLS.Files()); err != nil {
			bad("tls", "", "%s", err)
		}
	}
}

// checkSecret looks at a file with a secret.
func checkSecret(bad report, key, name, file string) {
	_, err := Secret(file)
	if err == nil {
		return
	}
	m := meantBy(err)
	bad(key, m.hint, "%s: %s", name, m.message)
}

// Policy returns who may do what; secret is auth.NewPolicy's. Passwords are
// read from their files.
func (c *Config) Policy(secret []byte) (*auth.Policy, error) {
	var users []auth.User
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		u := c.Users[name]
		one := auth.User{Name: name, Verifier: u.Verifier.Verifier, Certificate: string(u.Certificate), Grants: patterns(u.Grants), Console: u.Console}
		if u.PasswordFile != "" {
			password, err := Secret(u.PasswordFile)
			if err != nil {
				return nil, fmt.Errorf("read the password of user %q: %w", name, err)
			}
			one.Password = password
		}
		users = append(users, one)
	}
	var tokens []auth.Token
	for _, name := range slices.Sorted(maps.Keys(c.Tokens)) {
		t := c.Tokens[name]
		tokens = append(tokens, auth.Token{Name: name, Hash: t.Hash.Hash, Grants: patterns(t.Grants)})
	}
	return auth.NewPolicy(secret, users, tokens)
}

func patterns(globs []Glob) []string {
	all := make([]string, len(globs))
	for i, g := range globs {
		all[i] = string(g)
	}
	return all
}
