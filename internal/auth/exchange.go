package auth

import (
	"slices"
	"strings"

	"github.com/xdg-go/scram"

	"holdfast/internal/fault"
)

// The mechanisms of PostgreSQL's SASL.
const (
	Scram     = "SCRAM-SHA-256"
	ScramPlus = "SCRAM-SHA-256-PLUS"
)

// maxExchange bounds one message of the exchange, in bytes.
const maxExchange = 4096

// Exchange is one login by SCRAM. It is used once.
type Exchange struct {
	user    string
	binding []byte
	doomed  bool // whatever the client answers, it is refused
	talk    *scram.ServerConversation
	who     Who
}

// Client is what is known of a client before it proves anything.
type Client struct {
	User        string
	Certificate string // common name of its certificate, which was verified; "" without one
	Binding     []byte // tls-server-end-point of its connection; nil without TLS, or where there is none
}

// Begin begins a login. Where the client's certificate is all that the user
// needs, it is over: done is true, and who is in. Else the Exchange follows,
// also for a user who does not exist.
func (p *Policy) Begin(c Client) (e *Exchange, who Who, done bool) {
	u := p.users[c.User]
	if u != nil && u.certified(c.Certificate) {
		return nil, Who{name: c.User}, true
	}
	v, real := p.verifier(u, c.User)
	e = &Exchange{user: c.User, binding: c.Binding, who: Who{name: c.User}}
	e.doomed = !real || !u.mayConnect(c.Certificate)
	// The error is of a hash that is not known.
	server, _ := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return v.credentials(), nil })
	if c.Binding == nil {
		e.talk = server.NewConversation()
	} else {
		e.talk = server.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: c.Binding})
	}
	return e, Who{}, false
}

// Mechanisms returns what the client may choose from, the best first.
func (e *Exchange) Mechanisms() []string {
	if e.binding == nil {
		return []string{Scram}
	}
	return []string{ScramPlus, Scram}
}

// First takes the client's first message and returns the challenge.
func (e *Exchange) First(mechanism string, message []byte) (string, error) {
	if !slices.Contains(e.Mechanisms(), mechanism) {
		return "", fault.New(fault.ProtocolViolation, "client selected an invalid SASL authentication mechanism")
	}
	text := string(message)
	if err := checkFirst(mechanism, text); err != nil {
		return "", err
	}
	challenge, err := e.talk.Step(text)
	switch {
	case err == nil:
		return challenge, nil
	case challenge == scram.ErrServerDoesSupportChannelBinding:
		return "", fault.New(fault.InvalidAuthorization, "SCRAM channel binding negotiation error").
			WithDetail("The client supports SCRAM channel binding but thinks the server does not. However, this server does support channel binding.")
	case challenge == scram.ErrUnsupportedChannelBindingType:
		return "", fault.New(fault.ProtocolViolation, "unsupported SCRAM channel-binding type")
	}
	return "", malformed("the first message cannot be read")
}

// checkFirst refuses what the library would take and PostgreSQL does not.
func checkFirst(mechanism, text string) error {
	if len(text) > maxExchange {
		return malformed("the first message is too long")
	}
	for i := range len(text) {
		if text[i] == 0 {
			return malformed("the first message holds a NUL")
		}
	}
	bound := strings.HasPrefix(text, "p=")
	switch {
	case bound != (mechanism == ScramPlus):
		return malformed("the mechanism and the channel binding flag contradict each other")
	case authorizes(text):
		return fault.New(fault.FeatureNotSupported, "client uses authorization identity, but it is not supported")
	}
	fields := strings.SplitN(text, ",", 5)
	if len(fields) < 4 || strings.TrimPrefix(fields[3], "r=") == "" {
		return malformed("the nonce is missing")
	}
	for _, c := range []byte(fields[3]) {
		if c < 0x21 || c > 0x7e {
			return malformed("the nonce holds characters that cannot be printed")
		}
	}
	return nil
}

// authorizes tells whether the second field of a first message names somebody
// else to act as.
func authorizes(text string) bool {
	fields := strings.SplitN(text, ",", 3)
	return len(fields) > 1 && fields[1] != ""
}

// Final takes the client's proof and returns what proves the server to it.
func (e *Exchange) Final(message []byte) (string, Who, error) {
	if len(message) > maxExchange || slices.Contains(message, 0) {
		return "", Who{}, malformed("the last message is too long or holds a NUL")
	}
	answer, err := e.talk.Step(string(message))
	switch {
	case err == nil && e.talk.Valid() && !e.doomed:
		return answer, e.who, nil
	case err == nil || answer == scram.ErrInvalidProof:
		return "", Who{}, Refusal(e.user)
	case answer == scram.ErrChannelBindingsDontMatch:
		return "", Who{}, fault.New(fault.InvalidAuthorization, "SCRAM channel binding check failed").
			WithHint("somebody may be between the client and the server")
	}
	// The library's words may hold what is nobody's business.
	return "", Who{}, malformed("the last message cannot be read, or its nonce is another one")
}

func malformed(detail string) error {
	return fault.New(fault.ProtocolViolation, "malformed SCRAM message").WithDetail("%s", detail)
}

// Refusal is what a login with a wrong password gets, and one of a user who
// does not exist: PostgreSQL's own words.
func Refusal(user string) error {
	return fault.New(fault.InvalidPassword, "password authentication failed for user \"%s\"", user)
}
