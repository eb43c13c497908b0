package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"holdfast/internal/doctor"
)

func TestDoctorPlan(t *testing.T) {
	plan := func(more ...string) result {
		return run(t, "", nil, append([]string{"doctor", "plan", "--rows-per-second", "100", "--outage", "6h"}, more...)...)
	}
	r := plan("--row-size", "200")
	for _, want := range []string{"A partition of 1.7 GB", "2,160,000 rows", "\n  mkfs.ext4 -L hf-spool -b 4096 -I 512 -N 2620000 -m 0 -J size=64 -O inline_data /dev/sdX\n", "noatime", "PRUNEPATHS"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in %d %s%s", want, r.code, r.errors, r.out)
		}
	}
	var p doctor.Plan
	if r := plan("--row-size", "4 KB", "--for", "stream", "--fs", "xfs", "--device", "/dev/sdb1", "--json"); r.code != 0 || json.Unmarshal([]byte(r.out), &p) != nil ||
		p.Mkfs != "mkfs.xfs -L hf-stream -m reflink=0 /dev/sdb1" || p.Need.RowSize != 4096 || p.Outage != 6*3600 || !strings.Contains(p.Config, "hot: \"/srv/holdfast/rows==") {
		t.Errorf("got %+v", r)
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "--row-size is missing\nhint: see holdfast doctor plan --help"},
		{[]string{"--row-size", "many"}, exitUsage, "--row-size: size \"many\" is not a number with a unit"},
		{[]string{"--row-size", "0"}, exitFailed, "a row of 0 bytes cannot be\nhint: from 1 to 8388608 bytes"},
		{[]string{"--row-size", "200", "--fs", "fat"}, exitFailed, "file system \"fat\" is not one that is planned\nhint: ext4, xfs or ffs"},
		{[]string{"--row-size", "200", "--outage", "1y"}, exitUsage, "invalid argument \"1y\""},
	} {
		if r := plan(test.args...); r.code != test.code || !strings.Contains(r.errors, test.want) || r.out != "" {
			t.Errorf("%q: %d %q %q, want %q", test.args, r.code, r.errors, r.out, test.want)
		}
	}
}
