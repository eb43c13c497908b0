package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	"go.uber.org/goleak"

	"holdfast/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ofPencil is the verifier of the password "pencil" with the salt of RFC 7677,
// whose keys were computed with Python's hashlib and hmac.
const ofPencil = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestParseVerifier(t *testing.T) {
	v, err := ParseVerifier(ofPencil)
	if err != nil || v.Text() != ofPencil || !v.Matches("pencil") || v.Matches("pencil ") || v.Matches("") {
		t.Fatalf("the verifier of the RFC's password: %v, it became %q", err, v.Text())
	}
	for _, text := range []string{v.String(), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v)} {
		if strings.Contains(text, "WG5d") || strings.Contains(text, "wfPL") {
			t.Errorf("a verifier shows itself as %q", text)
		}
	}
	replace := func(old, new string) string { return strings.Replace(ofPencil, old, new, 1) }
	for _, bad := range []string{
		"", "pencil", "md53f8ae0bf8b8a0b6f9b2c8a1d0f6f1d2f", ofPencil[:len(ofPencil)-1], ofPencil + "=", " " + ofPencil, ofPencil + "\n",
		replace("4096", "0"), replace("4096", "-1"), replace("4096", "99999999999"), replace("4096", "10000001"), replace("4096", ""),
		replace("SHA-256", "SHA-1"), replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""), replace("W22ZaJ0S", "W22Z*J0S"),
		replace("W22ZaJ0SNY7soEsUEjb6gQ==", strings.Repeat("AAAA", 100)), replace("WG5d", ""), replace(":wfPL", "wfPL"), replace("Y=:", "Y\n=:"),
	} {
		if _, err := ParseVerifier(bad); !errors.Is(err, ErrVerifier) {
			t.Errorf("ParseVerifier(%q) returned %v", bad, err)
		} else if len(bad) > 30 && strings.Contains(err.Error(), bad[20:30]) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
	if (Verifier{}).Matches("") {
		t.Error("no verifier matches the empty password")
	}
}

func FuzzParseVerifier(f *testing.F) {
	f.Add(ofPencil)
	f.Add("SCRAM-SHA-256$1:AA==$")
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := ParseVerifier(text); err == nil {
			again, err := ParseVerifier(v.Text())
			if err != nil || again != v || len(v.stored) != 32 || len(v.server) != 32 || v.iterations < 1 {
				t.Errorf("%q became %q: %v", text, v.Text(), err)
			}
		}
	})
}

func TestToken(t *testing.T) {
	a, err := NewToken()
	b, err2 := NewToken()
	if err != nil || err2 != nil || a == b || len(a) < 50 {
		t.Fatalf("made the tokens %q and %q: %v %v", a, b, err, err2)
	}
	h, err := ParseHash(HashOf(a).String())
	if err != nil || h != HashOf(a) {
		t.Errorf("the hash of a token became %s: %v", h, err)
	}
	for _, bad := range []string{"", a, "sha256:", "sha256:zz", h.String() + "0", strings.Replace(h.String(), "sha256", "sha1", 1)} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("ParseHash takes %q", bad)
		}
	}
}

func policy(t *testing.T) *Policy {
	t.Helper()
	v, err := ParseVerifier(ofPencil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPolicy([]byte("secret"), []User{
		{Name: "acc", Verifier: v, Grants: []string{"acc*", "missed_calls"}},
		{Name: "file", Password: "pencil", Grants: []string{"cdr"}},
		{Name: "none", Verifier: v},
		{Name: "card", Certificate: "proxy-1", Grants: []string{"*"}},
		{Name: "both", Verifier: v, Certificate: "proxy-2", Grants: []string{"*"}},
	}, []Token{{Name: "acc", Hash: HashOf("t1"), Grants: []string{"cdr"}}, {Name: "old", Hash: HashOf("t2")}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGrants(t *testing.T) {
	p := policy(t)
	token, _ := p.ByToken("t1")
	stale, _ := policy(t).ByToken("t2")
	for _, c := range []struct {
		who   Who
		table string
		ok    bool
	}{
		{Who{name: "acc"}, "acc", true}, {Who{name: "acc"}, "acc_2026", true}, {Who{name: "acc"}, "missed_calls", true},
		{Who{name: "acc"}, "cdr", false}, {Who{name: "acc"}, "ACC", false}, {Who{name: "acc"}, "xacc", false}, {Who{name: "acc"}, "acc/../x", false}, {Who{name: "acc"}, "", false},
		{Who{name: "none"}, "acc", false}, {Who{}, "acc", false}, {Who{name: "nobody"}, "acc", false}, {Who{name: "card"}, "anything", true},
		{token, "cdr", true}, {token, "acc", false}, {stale, "cdr", false},
		{Who{name: "acc", hash: HashOf("guess")}, "cdr", false},
	} {
		err := p.Allow(c.who, c.table)
		if (err == nil) != c.ok || err != nil && fault.Code(err) != fault.InsufficientPrivilege {
			t.Errorf("%q for table %q: %v", c.who.Name(), c.table, err)
		}
	}
	for _, open := range []*Policy{nil, {}, new(Guard).Policy(), (*Guard)(nil).Policy()} {
		if err := open.Allow(Who{}, "acc"); err != nil || !open.Open() {
			t.Errorf("without users, %v", err)
		}
	}
	g := new(Guard)
	g.Set(p)
	if g.Policy() != p || g.Policy().Open() {
		t.Error("the guard does not hold what it was given")
	}
}

func TestLogin(t *testing.T) {
	p := policy(t)
	for _, c := range []struct {
		user, password, certificate string
		ok                          bool
	}{
		{"acc", "pencil", "", true}, {"acc", "Pencil", "", false}, {"acc", "", "", false}, {"acc", "pencil", "other", true},
		{"file", "pencil", "", true}, {"nobody", "pencil", "", false}, {"", "", "", false},
		{"card", "", "", false}, {"card", "", "proxy-1", false}, {"both", "pencil", "", false}, {"both", "pencil", "proxy-2", true}, {"both", "pencil", "proxy-1", false},
	} {
		who, ok := p.Login(c.user, c.password, c.certificate)
		if ok != c.ok || ok && who.Name() != c.user || !ok && who != (Who{}) {
			t.Errorf("%+v: let in %t as %q", c, ok, who.Name())
		}
	}
	for certificate, user := range map[string]string{"proxy-1": "card", "proxy-2": "", "": "", "acc": ""} {
		if who, ok := p.ByCertificate(certificate); ok != (user != "") || who.Name() != user {
			t.Errorf("the certificate of %q lets in %q", certificate, who.Name())
		}
	}
	for token, name := range map[string]string{"t1": "acc", "t2": "old", "": "", "t3": "", HashOf("t1").String(): ""} {
		if who, ok := p.ByToken(token); ok != (name != "") || who.Name() != name {
			t.Errorf("the token %q lets in %q", token, who.Name())
		}
	}
}

// talk leads a login as a client does and returns its end.
func talk(t *testing.T, p *Policy, c Client, password string, binding *scram.ChannelBinding) (Who, error) {
	t.Helper()
	e, who, done := p.Begin(c)
	if done {
		return who, nil
	}
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		t.Fatal(err)
	}
	mechanism, conv := Scram, client.NewConversation()
	if binding != nil {
		mechanism, conv = ScramPlus, client.NewConversationWithChannelBinding(*binding)
	}
	first, err := conv.Step("")
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := e.First(mechanism, []byte(first))
	if err != nil {
		return Who{}, err
	}
	proof, err := conv.Step(challenge)
	if err != nil {
		t.Fatalf("the client does not take the challenge %q: %v", challenge, err)
	}
	answer, who, err := e.Final([]byte(proof))
	if err == nil {
		if _, err := conv.Step(answer); err != nil || !conv.Valid() {
			t.Errorf("the server did not prove itself: %v", err)
		}
	}
	return who, err
}

func TestExchange(t *testing.T) {
	p := policy(t)
	for _, c := range []struct {
		client   Client
		password string
		binding  string
		code     string // "" where it lets in
	}{
		{Client{User: "acc"}, "pencil", "", ""},
		{Client{User: "file"}, "pencil", "", ""},
		{Client{User: "acc"}, "wrong", "", fault.InvalidPassword},
		{Client{User: "nobody"}, "pencil", "", fault.InvalidPassword},
		{Client{User: ""}, "pencil", "", fault.InvalidPassword},
		{Client{User: "acc", Binding: []byte("end")}, "pencil", "end", ""},
		{Client{User: "acc", Binding: []byte("end")}, "pencil", "", ""},
		{Client{User: "acc", Binding: []byte("end")}, "pencil", "another", fault.InvalidAuthorization},
		{Client{User: "nobody", Binding: []byte("end")}, "pencil", "another", fault.InvalidAuthorization},
		{Client{User: "card", Certificate: "proxy-1"}, "", "", ""},
		{Client{User: "card", Certificate: "proxy-2"}, "pencil", "", fault.InvalidPassword},
		{Client{User: "card"}, "", "", fault.InvalidPassword},
		{Client{User: "acc", Certificate: "proxy-1"}, "wrong", "", fault.InvalidPassword},
		{Client{User: "both", Certificate: "proxy-2"}, "pencil", "", ""},
		{Client{User: "both", Certificate: "proxy-2"}, "wrong", "", fault.InvalidPassword},
		{Client{User: "both"}, "pencil", "", fault.InvalidPassword},
	} {
		var b *scram.ChannelBinding
		if c.binding != "" {
			b = &scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: []byte(c.binding)}
		}
		who, err := talk(t, p, c.client, c.password, b)
		if fault.Code(err) != c.code || c.code == "" && who.Name() != c.client.User || c.code != "" && who != (Who{}) {
			t.Errorf("%+v with %q: %v, let in as %q", c.client, c.password, err, who.Name())
		}
		if c.code == fault.InvalidPassword && err.Error() != fmt.Sprintf("password authentication failed for user %q", c.client.User) {
			t.Errorf("refused with %q", err)
		}
	}
}

// TestNobodyLooksLikeSomebody holds that the challenge for somebody who does not
// exist cannot be told from one that is real: it stays at each try and each
// start, it differs by name, and it has the form of the others.
func TestNobodyLooksLikeSomebody(t *testing.T) {
	challenge := func(p *Policy, user string) string {
		e, _, _ := p.Begin(Client{User: user})
		text, err := e.First(Scram, []byte("n,,n=,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		return text[strings.Index(text, ",s="):]
	}
	p, again := policy(t), policy(t)
	other, err := NewPolicy([]byte("another secret"), nil, []Token{{}})
	if err != nil {
		t.Fatal(err)
	}
	nobody := challenge(p, "nobody")
	if nobody != challenge(p, "nobody") || nobody != challenge(again, "nobody") {
		t.Error("the salt of somebody who does not exist changes, and others' do not")
	}
	if nobody == challenge(p, "nobody2") || nobody == challenge(other, "nobody") {
		t.Error("the salt of somebody who does not exist can be foretold")
	}
	if len(nobody) != len(challenge(p, "acc")) || !strings.HasSuffix(nobody, ",i=4096") {
		t.Errorf("the challenge %q does not look like %q", nobody, challenge(p, "acc"))
	}
	if challenge(p, "file") != challenge(again, "file") {
		t.Error("the salt of a password from a file changes at each start")
	}
}

func TestMalformedExchange(t *testing.T) {
	p := policy(t)
	for _, c := range []struct{ mechanism, first, code string }{
		{"SCRAM-SHA-1", "n,,n=,r=abc", fault.ProtocolViolation},
		{ScramPlus, "p=tls-server-end-point,,n=,r=abc", fault.ProtocolViolation}, // not offered without TLS
		{Scram, "p=tls-server-end-point,,n=,r=abc", fault.ProtocolViolation},
		{Scram, "n,a=root,n=,r=abc", fault.FeatureNotSupported},
		{Scram, "n,,m=x,n=,r=abc", fault.ProtocolViolation},
		{Scram, "n,,n=,r=", fault.ProtocolViolation},
		{Scram, "n,,n=,r=a\x01", fault.ProtocolViolation},
		{Scram, "n,,n=\x00,r=a", fault.ProtocolViolation},
		{Scram, "", fault.ProtocolViolation},
		{Scram, strings.Repeat("n", 5000), fault.ProtocolViolation},
	} {
		e, _, _ := p.Begin(Client{User: "acc"})
		if _, err := e.First(c.mechanism, []byte(c.first)); fault.Code(err) != c.code {
			t.Errorf("%s %q: %v, want %s", c.mechanism, c.first, err, c.code)
		}
		if _, who, err := e.Final([]byte("c=biws,r=abc,p=AAAA")); err == nil || who != (Who{}) {
			t.Errorf("%s %q: the exchange goes on after an error", c.mechanism, c.first)
		}
	}
	bound, _, _ := p.Begin(Client{User: "acc", Binding: []byte("end")})
	if _, err := bound.First(Scram, []byte("y,,n=,r=abc")); fault.Code(err) != fault.InvalidAuthorization {
		t.Errorf("a client that was told of no channel binding: %v", err)
	}
	e, _, _ := p.Begin(Client{User: "acc"})
	if _, err := e.First(Scram, []byte("n,,n=,r=abc")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Final([]byte("c=biws,r=abcANOTHER,p=" + strings.Repeat("A", 43) + "=")); fault.Code(err) != fault.ProtocolViolation {
		t.Errorf("a proof for another nonce: %v", err)
	}
}

// FuzzExchange holds that nothing but the right proof lets anybody in.
func FuzzExchange(f *testing.F) {
	v, err := ParseVerifier(ofPencil)
	if err != nil {
		f.Fatal(err)
	}
	p, err := NewPolicy([]byte("s"), []User{{Name: "acc", Verifier: v}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(Scram, []byte("n,,n=,r=abc"), []byte("c=biws,r=abc,p=AAAA"), true)
	f.Add(ScramPlus, []byte("p=tls-server-end-point,,n=,r=abc"), []byte("c=cD10bHM=,r=abc,p=AAAA"), false)
	f.Fuzz(func(t *testing.T, mechanism string, first, final []byte, known bool) {
		c := Client{User: "acc", Binding: []byte("b")}
		if !known {
			c.User = "nobody"
		}
		e, _, _ := p.Begin(c)
		if _, err := e.First(mechanism, first); err != nil && fault.Code(err) == "" {
			t.Errorf("refused without a code: %v", err)
		}
		if _, who, err := e.Final(final); err == nil || who != (Who{}) {
			t.Errorf("let in as %q", who.Name())
		}
	})
}

func TestFailures(t *testing.T) {
	var f Failures
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range burst {
		if err := f.Check(a, now); err != nil {
			t.Fatalf("refused after %d failures: %v", i, err)
		}
		f.Failed(a, now)
	}
	err := f.Check(a, now)
	if fault.Code(err) != fault.InvalidAuthorization || !strings.Contains(err.Error(), "try again in") {
		t.Errorf("after %d failures: %v", burst, err)
	}
	if f.Wait(b, now) != 0 {
		t.Error("another address pays")
	}
	if f.Wait(netip.MustParseAddr("::ffff:192.0.2.1"), now) == 0 {
		t.Error("the same address in IPv6's clothes is let in")
	}
	if f.Wait(a, now.Add(refill)) != 0 {
		t.Error("the wait does not end")
	}
	f.Failed(a, now.Add(refill))
	if f.Wait(a, now.Add(refill)) == 0 {
		t.Error("one failure does not cost its time")
	}
	tries := 0
	for at := now; at.Before(now.Add(10 * time.Minute)); at = at.Add(10 * time.Millisecond) {
		if f.Wait(b, at) == 0 {
			tries++
			f.Failed(b, at)
		}
	}
	if most := int(10*time.Minute/refill) + burst + 1; tries > most || tries < most-2 {
		t.Errorf("%d logins could fail in ten minutes, want about %d", tries, most)
	}
	six := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 16), byte(i >> 8), byte(i), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(i)})
	}
	for i := range 3 * addresses {
		f.Failed(six(i), now)
	}
	if len(f.from) > addresses {
		t.Errorf("%d addresses are remembered", len(f.from))
	}
	x, y := netip.MustParseAddr("2001:db8:1:1::1"), netip.MustParseAddr("2001:db8:1:1:ffff::2%eth0")
	for range burst {
		f.Failed(x, now)
	}
	if f.Wait(y, now) == 0 {
		t.Error("a neighbour in the same /64 is let in")
	}
	f.Failed(netip.Addr{}, now) // a connection without an address
}
