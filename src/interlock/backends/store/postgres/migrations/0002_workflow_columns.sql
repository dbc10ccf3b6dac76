-- Who may change a workflow changes what it says, and never which one it is or whose. A colleague may change what the
-- tenant shares, so that a right to the whole row was also a right to take it over.

revoke update on interlock.workflows from authenticated;
grant update (visibility, kind, name, description, tags, icon_url, version_id, number, source, updated_at, deleted_at)
  on interlock.workflows to authenticated;

-- Tenant and owner stay as they are, so one condition is right for the row before and after: nobody can put a row
-- where the one who changes it does not see it, such as a colleague's workflow out of the colleague's tenant's sight.
drop policy change_own on interlock.workflows;
create policy change_own on interlock.workflows for update to authenticated
  using (tenant_id = (select interlock.tenant())
    and (visibility = 'tenant' or user_id = (select interlock.subject())));
