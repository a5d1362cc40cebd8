/**
 * What the person may do, from the scopes that `GET /hub/api/user` lists: buttons for the rest are switched off. The
 * hub decides for itself at each call, so a mistake here costs a click and nothing more.
 */

/** What an action is about. Groups of a user are undefined where the person may not see them. */
export interface Target {
  user?: string;
  groups?: readonly string[] | undefined;
  server?: string;
  group?: string;
}

interface Filter {
  kind: string;
  value: string;
}

function allows(filter: Filter, target: Target): boolean {
  switch (filter.kind) {
    case "user":
      return target.user === filter.value;
    case "server":
      return target.server !== undefined && `${target.user}/${target.server}` === filter.value;
    case "group":
      if (target.group !== undefined) return target.group === filter.value;
      // Membership that cannot be seen may be there.
      return target.user !== undefined && (target.groups?.includes(filter.value) ?? true);
    default:
      return false;
  }
}

export class Rights {
  readonly #scopes = new Map<string, Filter[] | true>();
  /** Whether the person is an administrator, which granting that to others needs. */
  readonly admin: boolean;

  constructor(scopes: Iterable<string>, admin: boolean) {
    this.admin = admin;
    for (const scope of scopes) {
      const [name = "", filter] = scope.split(/!(.*)/s, 2);
      const known = this.#scopes.get(name);
      if (known === true) continue;
      if (filter === undefined) {
        this.#scopes.set(name, true);
        continue;
      }
      const [kind = "", value = ""] = filter.split(/=(.*)/s, 2);
      this.#scopes.set(name, [...(known ?? []), { kind, value }]);
    }
  }

  /** Whether a scope is held for a target; without one, for everything. */
  may(scope: string, target?: Target): boolean {
    const held = this.#scopes.get(scope);
    if (held === undefined) return false;
    return held === true || (target !== undefined && held.some((filter) => allows(filter, target)));
  }

  /** Whether a scope is held for anything at all. */
  mayAny(scope: string): boolean {
    return this.#scopes.has(scope);
  }
}
