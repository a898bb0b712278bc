package deploy_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maxSize is what the image may have, in bytes: more means that something has got
// into it, or into the binary.
const maxSize = 30 << 20

func TestImage_IsWhatItSays(t *testing.T) {
	t.Parallel()
	image := notifierImage(t)
	var all []struct {
		Size   int64
		Config struct {
			User            string
			Entrypoint, Cmd []string
			ExposedPorts    map[string]any
			Labels          map[string]string
			Healthcheck     *struct{ Test []string }
		}
	}
	if err := json.Unmarshal([]byte(docker(t, "image", "inspect", image)), &all); err != nil {
		t.Fatal(err)
	}
	c := all[0].Config
	t.Logf("%s has %.1f MB", image, float64(all[0].Size)/1e6)
	if all[0].Size > maxSize {
		t.Errorf("it has %d bytes, more than %d", all[0].Size, maxSize)
	}
	if diff := cmp.Diff([]string{"65532:65532", "/usr/local/bin/notifier", "serve"}, []string{c.User, strings.Join(c.Entrypoint, " "), strings.Join(c.Cmd, " ")}); diff != "" {
		t.Errorf("user, entry point, command (-want +got):\n%s", diff)
	}
	if _, ok := c.ExposedPorts["8080/tcp"]; !ok || len(c.ExposedPorts) != 1 {
		t.Errorf("ports %v", c.ExposedPorts)
	}
	if c.Healthcheck == nil || strings.Join(c.Healthcheck.Test, " ") != "CMD /usr/local/bin/notifier health" {
		t.Errorf("health check %v", c.Healthcheck)
	}
	version := docker(t, "run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", image, "version")
	t.Logf("version %s", version)
	if version == "unversioned" || version == "unknown" || version != c.Labels["org.opencontainers.image.version"] {
		t.Errorf("the version is %q, the label %q", version, c.Labels["org.opencontainers.image.version"])
	}
}

func TestImage_HoldsOneProgramAndTheAuthorities(t *testing.T) {
	t.Parallel()
	container := docker(t, "create", notifierImage(t))
	defer docker(t, "rm", container)
	exported, err := exec.CommandContext(t.Context(), "docker", "export", container).Output()
	if err != nil {
		t.Fatal(err)
	}
	own, authorities := []string{}, 0
	for files := tar.NewReader(bytes.NewReader(exported)); ; {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg || header.Size == 0 { // what the engine puts in its place is empty
			continue
		}
		own = append(own, header.Name)
		if strings.HasSuffix(header.Name, ".crt") {
			text, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
				authorities++
			}
		}
	}
	if diff := cmp.Diff([]string{"etc/ssl/certs/ca-certificates.crt", "usr/local/bin/notifier"}, own); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if authorities < 50 {
		t.Errorf("it knows %d authorities", authorities)
	}
}

// Its log has the time of the zone that it is told, though the image has no files of zones.
func TestImage_KnowsTimeZones(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--read-only", "--network", "none", "-e", "TZ=Asia/Tokyo",
		"-e", "NOTIFIER_DATABASE_URL=postgres://nobody@127.0.0.1:1/none", notifierImage(t), "serve", "--anonymous").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !regexp.MustCompile(`(?m)^time=[^ ]*\+09:00 level=ERROR msg=ended`).Match(out) { //nolint:errorlint // as CombinedOutput returns it
		t.Errorf("%v, %s", err, out)
	}
}
