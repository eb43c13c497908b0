package httpapi

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast/internal/auth"
)

// TestWhoMayDoWhat is a matrix of who asks and for what.
func TestWhoMayDoWhat(t *testing.T) {
	v, err := auth.NewVerifier("pencil")
	if err != nil {
		t.Fatal(err)
	}
	p, err := auth.NewPolicy(nil, []auth.User{{Name: "acc", Verifier: v, Grants: []string{"acc*"}}, {Name: "card", Certificate: "card", Grants: []string{"acc"}}},
		[]auth.Token{{Name: "shop", Hash: auth.HashOf("good"), Grants: []string{"orders"}}, {Name: "eye", Hash: auth.HashOf("looks")}})
	if err != nil {
		t.Fatal(err)
	}
	g := new(auth.Guard)
	g.Set(p)
	f := &fake{}
	api := New(Options{Store: f, Admin: f, Access: g})
	card := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "card"}}}}}
	encrypted := &tls.ConnectionState{}
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for _, c := range []struct {
		name, path, authorization string
		tls                       *tls.ConnectionState
		status                    int
	}{
		{"nobody", "/v1/tables/orders/rows", "", nil, 401},
		{"nobody, over TLS", "/v1/tables/orders/rows", "", encrypted, 401},
		{"nobody probes", "/ping", "", nil, 200},
		{"nobody probes", "/ready", "", nil, 200},
		{"nobody looks", "/v1/status", "", nil, 401},
		{"nobody looks", "/metrics", "", nil, 401},
		{"nobody looks around", "/v1/nothing", "", nil, 401},
		{"token", "/v1/tables/orders/rows", "Bearer good", nil, 200},
		{"token", "/v1/tables/orders/rows", "bearer  good ", nil, 200},
		{"token looks", "/v1/status", "Bearer good", nil, 200},
		{"token without the grant", "/v1/tables/acc/rows", "Bearer good", nil, 403},
		{"token without any grant", "/v1/tables/orders/rows", "Bearer looks", nil, 403},
		{"token without any grant looks", "/metrics", "Bearer looks", nil, 200},
		{"wrong token", "/v1/tables/orders/rows", "Bearer bad", nil, 401},
		{"hash of the token", "/v1/tables/orders/rows", "Bearer " + auth.HashOf("good").String(), nil, 401},
		{"empty token", "/v1/tables/orders/rows", "Bearer ", nil, 401},
		{"token in the URL", "/v1/tables/orders/rows?token=good&access_token=good", "", nil, 401},
		{"token without its scheme", "/v1/tables/orders/rows", "good", nil, 401},
		{"password over TLS", "/v1/tables/acc/rows", basic("acc", "pencil"), encrypted, 200},
		{"password in the clear", "/v1/tables/acc/rows", basic("acc", "pencil"), nil, 401},
		{"wrong password", "/v1/tables/acc/rows", basic("acc", "x"), encrypted, 401},
		{"unknown user", "/v1/tables/acc/rows", basic("nobody", "pencil"), encrypted, 401},
		{"long password", "/v1/tables/acc/rows", basic("acc", strings.Repeat("x", 2000)), encrypted, 401},
		{"user without the grant", "/v1/tables/orders/rows", basic("acc", "pencil"), encrypted, 403},
		{"certificate", "/v1/tables/acc/rows", "", card, 200},
		{"certificate without the grant", "/v1/tables/acc_x/rows", "", card, 403},
		{"certificate and a wrong token", "/v1/tables/acc/rows", "Bearer bad", card, 401},
	} {
		g.Failures = auth.Failures{}
		method, body := http.MethodGet, ""
		if strings.Contains(c.path, "/rows") {
			method, body = http.MethodPost, "{\"a\":1}\n"
		}
		r := httptest.NewRequest(method, "http://localhost"+c.path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-ndjson")
		if r.TLS = c.tls; c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		api.Public().ServeHTTP(w, r)
		if w.Code != c.status || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %s %s: %d %s", c.name, method, c.path, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "good") || strings.Contains(w.Body.String(), "pencil") {
			t.Errorf("%s: the answer repeats a secret: %s", c.name, w.Body)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/tables/anything/rows", strings.NewReader("{\"a\":1}\n"))
	r.Header.Set("Content-Type", "application/x-ndjson")
	w := httptest.NewRecorder()
	if api.Private().ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("the admin socket asks who it is: %d %s", w.Code, w.Body)
	}
	g.Failures = auth.Failures{}
	status := 0
	for range 30 {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/v1/status", nil)
		r.Header.Set("Authorization", "Bearer guess")
		w := httptest.NewRecorder()
		api.Public().ServeHTTP(w, r)
		status = w.Code
	}
	if status != 429 {
		t.Errorf("the thirtieth wrong token got %d", status)
	}
}
