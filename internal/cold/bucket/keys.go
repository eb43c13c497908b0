package bucket

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// anew is how long keys are used before they are asked for again.
	anew = time.Minute
	// roleDial, roleAnswer and roleRest keep a machine that is in no cloud, where
	// nobody answers for roles, from waiting for long.
	roleDial   = time.Second
	roleAnswer = 5 * time.Second
	roleRest   = 10 * time.Second // from a failure on, before it is tried again
)

// provider asks for keys now and then: for those that are given, and where there
// are none, for those of the role that a machine or a container has.
type provider struct {
	read func() (Keys, error)
	role func(*credentials.CredContext) (credentials.Value, error)

	mu    sync.Mutex
	again time.Time         // from when on they are asked for again
	last  credentials.Value // of the role
	bad   error             // why the role gave none
}

func newProvider(o Options) *provider {
	client := &http.Client{Timeout: roleAnswer, Transport: &http.Transport{
		Proxy:             roleProxy,
		DialContext:       (&net.Dialer{Timeout: roleDial}).DialContext,
		DisableKeepAlives: true, // it is asked once an hour
	}}
	return &provider{read: o.Keys, role: func(cc *credentials.CredContext) (credentials.Value, error) {
		iam := &credentials.IAM{Client: client, Region: o.Region}
		if !contained() { // else it names where containers are told
			iam.Endpoint = strings.TrimRight(os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "/")
			if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
				return credentials.Value{}, errors.New("AWS_EC2_METADATA_DISABLED is set")
			}
		}
		return iam.RetrieveWithCredContext(cc)
	}}
}

// contained tells whether the environment names where a container gets its keys.
func contained() bool {
	return cmp.Or(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")) != ""
}

// roleProxy has no proxy see what a machine is told of itself.
func roleProxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// RetrieveWithCredContext implements credentials.Provider.
func (p *provider) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	k, err := p.read()
	if err != nil {
		return credentials.Value{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k == (Keys{}) {
		return p.ofRoleLocked(cc)
	}
	p.again = time.Now().Add(anew)
	return credentials.Value{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token, SignerType: credentials.SignatureV4}, nil
}

// Retrieve implements credentials.Provider.
func (p *provider) Retrieve() (credentials.Value, error) { return p.RetrieveWithCredContext(nil) }

// ofRoleLocked returns the keys of the role: new ones when half of the time is over
// for which the last held, and those as long as there are no others.
func (p *provider) ofRoleLocked(cc *credentials.CredContext) (credentials.Value, error) {
	now := time.Now()
	if p.bad != nil && now.Before(p.again) {
		return credentials.Value{}, p.bad
	}
	v, err := p.role(cc)
	if err == nil && (v.AccessKeyID == "" || v.SecretAccessKey == "") {
		err = errors.New("it gave none")
	}
	if err != nil && p.last.Expiration.After(now.Add(anew)) { // what it gave before holds still
		p.again = now.Add(anew)
		return p.last, nil
	}
	if err != nil {
		p.again = now.Add(roleRest)
		p.bad = fmt.Errorf("no keys: there is no keys_file, none are in the environment, and the role of this machine or container gave none: %w", err)
		return credentials.Value{}, p.bad
	}
	p.last, p.bad = v, nil
	p.again = now.Add(anew)
	if left := v.Expiration.Sub(now); left > 2*anew {
		p.again = now.Add(left / 2)
	}
	return v, nil
}

// IsExpired implements credentials.Provider.
func (p *provider) IsExpired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !time.Now().Before(p.again)
}
