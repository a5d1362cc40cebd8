package main

// The API server is a process of its own, this program started once more, so that a test can take
// it away without warning and bring it back: what it had in memory, its watch cache above all, is
// then lost as it is in a real outage, and a watch that goes on from an old version gets 410 Gone.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

const apiServerCommand = "kube-apiserver"

// apiServerReadyWithin is generous: several beds may start at once on a small machine.
const apiServerReadyWithin = 2 * time.Minute

// auditPolicy keeps who did what for service accounts, which is what a test asks about.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: [system:serviceaccounts]
- level: None
`

// apiServer is the process of the API server and the way to start it again.
type apiServer struct {
	o      options
	etcd   string // its client URL
	client kubernetes.Interface
	failed chan<- error // told when it ends unasked

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts the process and waits until it answers /readyz.
func (s *apiServer) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	for deadline := time.Now().Add(apiServerReadyWithin); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !s.running() {
			return fmt.Errorf("kube-apiserver ended at its start, see %s", s.logPath())
		}
		if _, err := s.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
			return nil
		}
	}
	return fmt.Errorf("kube-apiserver not ready after %s", apiServerReadyWithin)
}

func (s *apiServer) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("kube-apiserver runs already")
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", append([]string{apiServerCommand}, apiServerArgs(s.o, s.etcd)...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The signal at the parent's death is that of a thread: this one lives as long as the child.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		s.mu.Lock()
		unasked := s.cmd == cmd
		s.cmd = nil
		s.mu.Unlock()
		close(ended)
		if unasked {
			s.failed <- fmt.Errorf("kube-apiserver: %w, see %s", errOr(err, "stopped"), s.logPath())
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.ended = cmd, ended
	return nil
}

// stop ends the process as a power failure would, and waits until it is gone.
func (s *apiServer) stop() error {
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return errors.New("kube-apiserver does not run")
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-ended
	return nil
}

func (s *apiServer) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

func (s *apiServer) logPath() string { return filepath.Join(s.o.dir, "kube-apiserver.log") }

func (o options) auditLog() string { return filepath.Join(o.dir, "audit.log") }

func writeAuditPolicy(o options) error {
	return os.WriteFile(o.pki("audit-policy.yaml"), []byte(auditPolicy), 0o600)
}

func apiServerArgs(o options, etcd string) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", o.port),
		"--tls-cert-file=" + o.pki("server.crt"), "--tls-private-key-file=" + o.pki("server.key"),
		"--token-auth-file=" + o.pki("tokens.csv"),
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + o.pki("sa.key"), "--service-account-signing-key-file=" + o.pki("sa.key"),
		"--service-cluster-ip-range=" + o.serviceCIDR,
		"--audit-policy-file=" + o.pki("audit-policy.yaml"), "--audit-log-path=" + o.auditLog(),
		// Loopback addresses cannot be published as Endpoints (the API refuses them), so nothing
		// writes Endpoints here; the agent resolves services by their selectors.
		"--endpoint-reconciler-type=none",
		// Nodes start without the not-ready taint that only the node lifecycle controller removes.
		"--disable-admission-plugins=TaintNodesByCondition",
		"--kubelet-preferred-address-types=InternalIP",
		"--shutdown-delay-duration=0s",
	}
}

// apiServerMain is the process of the API server.
func apiServerMain(args []string) error {
	s := apiserveroptions.NewServerRunOptions()
	if err := parse(s.Flags(), args); err != nil {
		return err
	}
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	ctx := context.Background()
	completed, err := s.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return errs[0]
	}
	return apiserver.Run(ctx, completed)
}
