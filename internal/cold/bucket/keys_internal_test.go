package bucket

import (
	"errors"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// TestRoleHolds has a role give no new keys: those that it gave are used as long as
// they hold, and not after that; and it is not asked again at once.
func TestRoleHolds(t *testing.T) {
	asked, gives, holds := 0, true, time.Hour
	p := &provider{read: func() (Keys, error) { return Keys{}, nil }, role: func(*credentials.CredContext) (credentials.Value, error) {
		asked++
		if !gives {
			return credentials.Value{}, errors.New("not now")
		}
		return credentials.Value{AccessKeyID: "a", SecretAccessKey: "b", Expiration: time.Now().Add(holds)}, nil
	}}
	if v, err := p.Retrieve(); err != nil || v.AccessKeyID != "a" || p.IsExpired() {
		t.Fatalf("%v, %v", v.AccessKeyID, err)
	}
	if left := time.Until(p.again); left < 25*time.Minute || left > 35*time.Minute {
		t.Errorf("keys that hold for an hour are asked for again after %s", left)
	}
	gives = false
	if v, err := p.Retrieve(); err != nil || v.AccessKeyID != "a" || p.IsExpired() {
		t.Errorf("keys that hold are not used: %v", err)
	}
	p.last.Expiration = time.Now()
	for range 3 {
		if _, err := p.Retrieve(); err == nil {
			t.Error("keys that hold no longer are used")
		}
	}
	if asked != 3 {
		t.Errorf("the role was asked %d times", asked)
	}
	p.again, gives, holds = time.Time{}, true, 0
	if _, err := p.Retrieve(); err != nil || p.IsExpired() {
		t.Errorf("keys that came again are not used, or asked for at each request: %v", err)
	}
}
