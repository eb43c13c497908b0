package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/auth"
	"holdfast/internal/certs"
	"holdfast/internal/fault"
	"holdfast/internal/peer"
)

// whoKey is the context key of the auth.Who that a request is from. Requests of
// the admin socket have none: whoever opened it is the server's own user.
type whoKey struct{}

// known lets in who has said who he is. Without users and tokens that is
// everybody; the probes of /ping and /ready are answered to all.
func (a *API) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy := a.o.Access.Policy()
		enter := func(who auth.Who, probe bool) {
			if !probe {
				if err := admit(r, who.Name()); err != nil {
					w.Header().Set("Connection", "close") // the body is not read
					fail(w, err)
					return
				}
			}
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whoKey{}, who)))
		}
		if probe := r.URL.Path == "/ping" || r.URL.Path == "/ready"; policy.Open() || probe {
			enter(auth.Who{}, probe)
			return
		}
		from := peer.Parse(r.RemoteAddr)
		if wait := a.o.Access.Failures.Wait(from, time.Now()); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			refuse(w, http.StatusTooManyRequests, a.o.Access.Failures.Check(from, time.Now()))
			return
		}
		who, tried, ok := identify(policy, r)
		if ok {
			enter(who, false)
			return
		}
		err := fault.New(fault.InvalidAuthorization, "who are you?").WithHint("send a token as Authorization: Bearer TOKEN")
		if tried {
			a.o.Access.Failures.Failed(from, time.Now())
			a.o.Log.Warn("login refused", "remote", r.RemoteAddr, "path", r.URL.Path)
			err = fault.New(fault.InvalidPassword, "the token, or the user and its password, are not known here")
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="holdfast"`)
		if r.TLS != nil {
			w.Header().Add("WWW-Authenticate", `Basic realm="holdfast", charset="UTF-8"`)
		}
		w.Header().Set("Connection", "close") // the body is not read
		refuse(w, http.StatusUnauthorized, err)
	})
}

// identify finds out whose request it is; tried tells whether it says anything
// about that. A password that came unencrypted is not even looked at, so that
// nobody gets used to sending it.
func identify(p *auth.Policy, r *http.Request) (who auth.Who, tried, ok bool) {
	certificate := certs.CommonName(r.TLS)
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		who, ok = p.ByToken(strings.TrimSpace(rest))
		return who, true, ok
	case strings.EqualFold(scheme, "Basic"):
		name, password, fine := r.BasicAuth()
		if !fine || r.TLS == nil || len(password) > maxPassword {
			return auth.Who{}, true, false
		}
		who, ok = p.Login(name, password, certificate)
		return who, true, ok
	case scheme != "":
		return auth.Who{}, true, false
	}
	who, ok = p.ByCertificate(certificate)
	return who, certificate != "", ok
}

// maxPassword bounds what is hashed, in bytes.
const maxPassword = 1024

// allow returns nil where the request may write to table.
func (a *API) allow(r *http.Request, table string) error {
	who, public := r.Context().Value(whoKey{}).(auth.Who)
	if !public {
		return nil
	}
	return a.o.Access.Policy().Allow(who, table)
}
