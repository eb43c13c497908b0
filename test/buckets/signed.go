package buckets

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestOff is how far a request's time may be off.
const longestOff = 15 * time.Minute

// signed holds a request against its signature, version 4, and against the digest
// that was signed.
func (s *Server) signed(r *http.Request, body []byte) *failure {
	denied := func(why string) *failure { return fail(http.StatusForbidden, "AccessDenied", why) }
	form, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	part := map[string]string{}
	for _, one := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(one), "=")
		part[k] = v
	}
	if form != "AWS4-HMAC-SHA256" || part["Signature"] == "" {
		return denied("the request is not signed")
	}
	id, scope, _ := strings.Cut(part["Credential"], "/")
	if id != ID {
		return fail(http.StatusForbidden, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
	}
	at := r.Header.Get("X-Amz-Date")
	when, err := time.Parse("20060102T150405Z", at)
	if err != nil || time.Since(when).Abs() > longestOff {
		return fail(http.StatusForbidden, "RequestTimeTooSkewed", "the time of the request is off")
	}
	if scope != at[:8]+"/"+Region+"/s3/aws4_request" {
		return fail(http.StatusBadRequest, "AuthorizationHeaderMalformed", "the scope "+scope+" is another one")
	}
	names := strings.Split(part["SignedHeaders"], ";")
	for name := range r.Header {
		if n := strings.ToLower(name); (strings.HasPrefix(n, "x-amz-") || n == "range" || strings.HasPrefix(n, "if-")) && !slices.Contains(names, n) {
			return denied("the header " + n + " is not signed")
		}
	}
	sum := sha256.Sum256(body)
	if r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) {
		return fail(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "what came is not what was signed")
	}
	digest := sha256.Sum256([]byte(canonical(r, names)))
	key := []byte("AWS4" + Secret)
	for _, one := range []string{at[:8], Region, "s3", "aws4_request"} {
		key = mac(key, one)
	}
	want := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+hex.EncodeToString(digest[:])))
	if !hmac.Equal([]byte(want), []byte(part["Signature"])) {
		return fail(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

// canonical is what of a request is signed.
func canonical(r *http.Request, names []string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20") + "\n")
	for _, n := range names {
		value := strings.Join(r.Header.Values(n), ",")
		switch n {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		b.WriteString(n + ":" + strings.TrimSpace(value) + "\n")
	}
	b.WriteString("\n" + strings.Join(names, ";") + "\n" + r.Header.Get("X-Amz-Content-Sha256"))
	return b.String()
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
