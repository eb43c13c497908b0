package closing_test

import (
	"context"
	"testing"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/test/servers"
)

// TestFormsServerKilled kills MariaDB itself while an archive is stored in another
// form: behind each copy, before the exchange, and behind it, so that the server
// starts from what it had flushed. HOLDFAST_LONG=1: it takes a server of its own.
func TestFormsServerKilled(t *testing.T) {
	if !long() {
		t.Skip("HOLDFAST_LONG=1 kills servers")
	}
	server := servers.MariaDB(t)
	b := &anyBase{T: t, engine: engines[1], ids: map[string]int64{}}
	db := pool(t, "mysql", "root@tcp("+server.Addr()+")/")
	if _, err := db.Exec("CREATE DATABASE family"); err != nil {
		t.Fatal(err)
	}
	b.url, b.db = server.URL("family"), pool(t, "mysql", "root@tcp("+server.Addr()+")/family")
	b.exec("CREATE TABLE audit (what varchar(20))")
	b.small()
	want := map[string]int64{"calls": 20, "legs": 20}
	b.must(epoch + 9)
	kills := 0
	for n := 1; ; n++ {
		b.f.Archives = []archive.Form{{Engine: archive.EngineAria}, {Compress: archive.CompressPage}}[kills%2]
		s := b.session()
		count, killed := 0, ""
		s.Watch(func(statement string) error {
			if count++; count == n && killed == "" {
				killed = statement
				server.Kill()
				server.Start()
			}
			return nil
		})
		_, err := closing.Reform(context.Background(), s, b.f)
		s.Close()
		b.eachOnce(want, killed)
		b.sound()
		if killed == "" {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		kills++
	}
	b.formed(b.f.Archives)
	b.nothingLeft()
	if kills < 10 {
		t.Errorf("killed %d times only", kills)
	}
	t.Logf("killed %d times", kills)
}
